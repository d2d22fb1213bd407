//! Which agents send, for the Status page.

use std::collections::HashMap;

use greylight_store::model::{TenantId, Timestamp};
use parking_lot::Mutex;

/// Agents that are remembered; beyond it the one that is silent longest is forgotten.
const AGENTS_MAX: usize = 1000;

/// The longest name that is kept whole.
const NAME_BYTES_MAX: usize = 128;

/// What an agent's `User-Agent` begins with; its version follows.
pub(crate) const PRODUCT: &str = "greylight-agent/";

/// The header in which an agent says its name, the label `instance` of its host.
pub(crate) const NAME_HEADER: &str = "x-greylight-agent";

/// An agent that has sent something. Counts run from the start of the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentStatus {
    /// Its name; empty when it does not say.
    pub name: String,
    /// Its version.
    pub version: String,
    /// When its last request was answered.
    pub last_seen: Timestamp,
    /// Samples that were stored.
    pub n_samples: u64,
    /// Log records that were stored.
    pub n_records: u64,
    /// Samples and records that were refused.
    pub n_refused: u64,
}

/// Who sends a request, if it is an agent.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    pub(crate) tenant: TenantId,
    pub(crate) name: String,
    pub(crate) version: String,
}

impl Sender {
    /// Makes one of an agent's headers.
    pub(crate) fn new(tenant: TenantId, name: &str, version: &str) -> Self {
        let cut = |text: &str| text[..text.floor_char_boundary(NAME_BYTES_MAX)].to_owned();
        Self { tenant, name: cut(name), version: cut(version) }
    }
}

/// What one request of an agent brought.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Brought {
    pub(crate) n_samples: u64,
    pub(crate) n_records: u64,
    pub(crate) n_refused: u64,
}

/// The agents that have sent something, by tenant and name.
#[derive(Debug, Default)]
pub(crate) struct Agents(Mutex<HashMap<(TenantId, String), AgentStatus>>);

impl Agents {
    /// Notes a request.
    pub(crate) fn heard(&self, sender: Sender, brought: Brought, now: Timestamp) {
        let mut agents = self.0.lock();
        let key = (sender.tenant, sender.name);
        if agents.len() >= AGENTS_MAX && !agents.contains_key(&key) {
            let oldest = agents.iter().min_by_key(|(_, agent)| agent.last_seen).map(|(key, _)| key.clone());
            oldest.and_then(|oldest| agents.remove(&oldest));
        }
        let name = key.1.clone();
        let agent = agents.entry(key).or_insert_with(|| AgentStatus {
            name,
            version: String::new(),
            last_seen: now,
            n_samples: 0,
            n_records: 0,
            n_refused: 0,
        });
        agent.version = sender.version;
        agent.last_seen = now;
        agent.n_samples += brought.n_samples;
        agent.n_records += brought.n_records;
        agent.n_refused += brought.n_refused;
    }

    /// Returns a tenant's agents by name.
    pub(crate) fn list(&self, tenant: &TenantId) -> Vec<AgentStatus> {
        let agents = self.0.lock();
        let own = agents.iter().filter(|((of, _), _)| of == tenant);
        let mut list: Vec<AgentStatus> = own.map(|(_, agent)| agent.clone()).collect();
        list.sort_by(|a, b| a.name.cmp(&b.name));
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_that_is_silent_longest_makes_room() {
        let agents = Agents::default();
        let sender = |name: &str| Sender::new(TenantId::default(), name, "1.0");
        for n in 0..AGENTS_MAX {
            let brought = Brought { n_samples: 1, n_records: 2, n_refused: 3 };
            agents.heard(sender(&format!("host-{n}")), brought, Timestamp::from_millis(n as i64));
        }
        agents.heard(sender("host-0"), Brought::default(), Timestamp::from_millis(5000));
        agents.heard(sender("new"), Brought::default(), Timestamp::from_millis(5001));
        let list = agents.list(&TenantId::default());
        assert_eq!(list.len(), AGENTS_MAX);
        let has = |name: &str| list.iter().any(|agent| agent.name == name);
        assert!(has("host-0") && has("new") && !has("host-1"));
        assert_eq!((list[0].n_samples, list[0].n_records, list[0].n_refused), (1, 2, 3));
        let other = TenantId::new("other").expect("a good name");
        assert!(agents.list(&other).is_empty(), "tenants do not see one another's");
    }

    #[test]
    fn long_names_are_cut() {
        let sender = Sender::new(TenantId::default(), &"长".repeat(100), "1");
        assert_eq!(sender.name, "长".repeat(42));
    }
}

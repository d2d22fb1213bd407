//! Random sequences of everything that can happen to a store, against a map.

use std::collections::BTreeMap;
use std::time::Duration;

use greylight_store::Store;
use greylight_store::config::RetentionConfig;
use greylight_store::metrics::Deletion;
use greylight_store::model::{Clock, MatchOp, Matcher, TenantId};
use greylight_store::read::SpanMs;

use super::facts::{Facts, Found, Record, Sample, read_samples, search};
use super::rig::{NOW_MS, Rig, put_records, put_samples};
use super::{Chance, Outcome, must};

/// How much of what happened.
pub(crate) type Tally = BTreeMap<&'static str, u64>;

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    Samples(Vec<Sample>),
    Records(Vec<Record>),
    /// Deletes samples of series whose names match, in a span.
    Delete(&'static str, SpanMs),
    /// Seals, and merges nothing.
    Seal,
    Flush,
    Advance(Duration),
    Query,
    Reopen,
    PowerLoss,
}

const SELECTORS: [&str; 4] = ["s0", "s[12]", "s.*", "none"];
const WORDS: [&str; 3] = ["cart", "took", "nothing"];

impl Step {
    fn draw(chance: &mut Chance) -> Self {
        match chance.below(22) {
            0..7 => Self::Samples(samples(chance)),
            7..11 => Self::Records(samples(chance).into_iter().map(record_of).collect()),
            11 => Self::Delete(SELECTORS[chance.below(4) as usize], span(chance)),
            12..14 => Self::Seal,
            14 => Self::Flush,
            15 => Self::Advance(Duration::from_secs(60 * chance.below(600))),
            16..18 => Self::Query,
            18 => Self::Reopen,
            _ => Self::PowerLoss,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Samples(_) => "put samples",
            Self::Records(_) => "put records",
            Self::Delete(..) => "delete",
            Self::Seal => "seal",
            Self::Flush => "flush",
            Self::Advance(_) => "advance",
            Self::Query => "query",
            Self::Reopen => "reopen",
            Self::PowerLoss => "power loss",
        }
    }
}

/// Times over two days in steps of twelve minutes or of two hours, so that windows and days are crossed and many are
/// written again.
fn time(chance: &mut Chance) -> i64 {
    let steps = if chance.one_in(2) { chance.below(24) * 10 } else { chance.below(240) };
    NOW_MS - steps as i64 * 720_000 + i64::from(chance.one_in(4))
}

fn span(chance: &mut Chance) -> SpanMs {
    let (a, b) = (time(chance), time(chance));
    SpanMs { start: a.min(b), end: a.max(b) }
}

fn samples(chance: &mut Chance) -> Vec<Sample> {
    let n = 1 + chance.below(12);
    let value = |chance: &mut Chance| match chance.below(8) {
        0 => f64::NAN,
        1 => f64::from_bits(greylight_store::read::STALE_NAN_BITS),
        2 => 1.0 / (1 + chance.below(97)) as f64,
        _ => chance.below(1000) as f64 / 4.0,
    };
    (0..n).map(|_| (format!("s{}", chance.below(5)), time(chance), value(chance))).collect()
}

fn record_of((name, t_ms, value): Sample) -> Record {
    let what = ["cart", "checkout", "search"][t_ms.rem_euclid(3) as usize];
    (t_ms, format!("{what} of {name} took {value} ms for {:08x}", value.to_bits() as u32))
}

/// The store, and what it should hold.
struct Trial {
    rig: Rig,
    store: Store,
    facts: Facts,
    keep: Option<Duration>,
    tally: Tally,
}

/// Does `n_steps` random things to a store and compares it with a map after each.
pub(crate) async fn run(seed: u64, n_steps: u64) -> Outcome<Tally> {
    let chance = &mut Chance::new(seed);
    let mut rig = Rig::new()?;
    let keep = chance.one_in(2).then_some(Duration::from_secs(36 * 3600));
    rig.config.retention = RetentionConfig { metrics: keep, logs: keep, ..RetentionConfig::default() };
    let store = rig.open().await?;
    let mut trial = Trial { rig, store, facts: Facts::default(), keep, tally: Tally::new() };
    for n in 0..n_steps {
        let step = Step::draw(chance);
        *trial.tally.entry(step.name()).or_default() += 1;
        let done = trial.step(&step, chance).await;
        done.map_err(|e| format!("step {n}, {}: {e}", step.name()))?;
    }
    trial.rig.end(trial.store).await?;
    Ok(trial.tally)
}

impl Trial {
    async fn step(&mut self, step: &Step, chance: &mut Chance) -> Outcome<()> {
        match step {
            Step::Reopen => {
                self.store.shutdown().await?;
                self.store = self.rig.open().await?;
                self.rig.must_be_clean(&self.store).await?;
            }
            // Between two steps, or at some change of the disk that a later step makes.
            Step::PowerLoss if chance.one_in(3) => {
                self.rig.lose_power(Some(self.store.clone()), chance).await;
                self.store = self.rig.open().await?;
            }
            Step::PowerLoss => return self.power_loss_in_work(chance).await,
            other => {
                self.act(other).await?;
                self.facts = after(&self.facts, other);
            }
        }
        let found = self.rig.read(&self.store)?;
        self.settle(&found, std::slice::from_ref(&self.facts.clone()))
    }

    /// Has the disk die somewhere in the next steps; the one that fails may have been done or not.
    async fn power_loss_in_work(&mut self, chance: &mut Chance) -> Outcome<()> {
        self.rig.die_after(chance.below(30), chance.below(600) as usize);
        let mut either = vec![self.facts.clone()];
        for _ in 0..6 {
            let step = loop {
                match Step::draw(chance) {
                    Step::Reopen | Step::PowerLoss | Step::Query | Step::Advance(_) => {}
                    step => break step,
                }
            };
            let next = after(&self.facts, &step);
            match self.act(&step).await {
                Ok(()) => {
                    self.facts = next;
                    either = vec![self.facts.clone()];
                }
                Err(_) => {
                    either.push(next);
                    break;
                }
            }
        }
        self.rig.lose_power(Some(self.store.clone()), chance).await;
        self.store = self.rig.open().await?;
        self.rig.must_be_clean(&self.store).await?;
        let found = self.rig.read(&self.store)?;
        self.settle(&found, &either)
    }

    async fn act(&self, step: &Step) -> Outcome<()> {
        let store = &self.store;
        match step {
            Step::Samples(samples) => put_samples(store, samples).await?,
            Step::Records(records) => put_records(store, records).await?,
            Step::Delete(names, span) => drop(store.delete_series(&tenant(), deletion(names, *span)?).await?),
            // A deletion seals first; this one has nothing to delete.
            Step::Seal => {
                let nobody = TenantId::new("nobody")?;
                store.delete_series(&nobody, deletion("none", SpanMs::ALL)?).await?;
            }
            Step::Flush => store.flush().await?,
            Step::Advance(span) => self.rig.clock.advance(*span),
            Step::Query => self.query()?,
            Step::Reopen | Step::PowerLoss => {}
        }
        Ok(())
    }

    /// Asks for parts of what there is.
    fn query(&self) -> Outcome<()> {
        let (reader, clock) = (self.store.reader(), &self.rig.clock);
        let chance = &mut Chance::new(self.facts.len() as u64);
        let (names, span) = (SELECTORS[chance.below(4) as usize], span(chance));
        let found = read_samples(&reader, &tenant(), clock, Some(names), span)?;
        let mut want = Facts::default();
        want.samples.clone_from(&self.facts.samples);
        let inside = |t: i64| (span.start..=span.end).contains(&t);
        want.samples.retain(|(name, t), _| inside(*t) && matches(names, name));
        let different = want.difference(&found.facts, self.dropped_before());
        must(different.is_none(), || format!("{names} in {span:?}: {different:?}"))?;
        for word in WORDS {
            let found = search(&reader, &tenant(), clock, word)?;
            let says = |r: &&Record| r.1.split(' ').any(|w| w == word);
            let want: Vec<&Record> = self.facts.records.iter().filter(says).collect();
            let lost = want.iter().find(|r| r.0 >= self.dropped_before() && !found.contains(**r));
            must(lost.is_none(), || format!("{word:?} does not find {lost:?}"))?;
            let wrong = found.iter().find(|r| !want.contains(r));
            must(wrong.is_none(), || format!("{word:?} finds {wrong:?}"))?;
        }
        Ok(())
    }

    /// Rows before this may have been dropped by now.
    fn dropped_before(&self) -> i64 {
        let now = self.rig.clock.now();
        self.keep.map_or(i64::MIN, |keep| now.saturating_sub(keep).as_millis())
    }

    /// Takes as true what was found, if it is one of the states that there may be.
    fn settle(&mut self, found: &Found, either: &[Facts]) -> Outcome<()> {
        must(found.missing.is_empty(), || format!("answers lack {:?}", found.missing))?;
        let mut differences = Vec::new();
        for state in either {
            let Some(difference) = state.difference(&found.facts, self.dropped_before()) else {
                // What was dropped stays away.
                self.facts = found.facts.clone();
                return Ok(());
            };
            differences.push(difference);
        }
        Err(differences.join("; or: ").into())
    }
}

fn tenant() -> TenantId {
    TenantId::default()
}

fn deletion(names: &str, span: SpanMs) -> Outcome<Deletion> {
    Ok(Deletion { sets: vec![vec![Matcher::new("__name__", MatchOp::Regex, names)?]], span })
}

/// What the selectors of these trials mean, without the matcher under test.
fn matches(names: &str, name: &str) -> bool {
    match names {
        "s0" => name == "s0",
        "s[12]" => name == "s1" || name == "s2",
        "s.*" => name.starts_with('s'),
        _ => false,
    }
}

fn after(facts: &Facts, step: &Step) -> Facts {
    let mut next = facts.clone();
    match step {
        Step::Samples(samples) => next.put_samples(samples),
        Step::Records(records) => next.put_records(records),
        Step::Delete(names, span) => {
            next.samples.retain(|(name, t), _| !(matches(names, name) && (span.start..=span.end).contains(t)))
        }
        _ => {}
    }
    next
}

//! What an answer says beside its values.

/// Warnings and infos, each text once, in the order in which they came up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Annotations {
    warnings: Vec<String>,
    infos: Vec<String>,
}

/// More than this of either kind are not kept: a query over many names could make thousands.
const KEPT_MAX: usize = 100;

impl Annotations {
    /// Adds a warning: the answer may be wrong or incomplete.
    pub fn warn(&mut self, text: String) {
        add(&mut self.warnings, text);
    }

    /// Adds an info: the question may not be what was meant.
    pub fn info(&mut self, text: String) {
        add(&mut self.infos, text);
    }

    /// Adds all of another's.
    pub(super) fn merge(&mut self, other: &Self) {
        other.warnings.iter().for_each(|text| self.warn(text.clone()));
        other.infos.iter().for_each(|text| self.info(text.clone()));
    }

    /// Puts them in an order that does not depend on that of the evaluation.
    pub(super) fn sort(&mut self) {
        self.warnings.sort_unstable();
        self.infos.sort_unstable();
    }

    /// Tells whether more may have come up than are kept.
    pub(super) fn is_full(&self) -> bool {
        self.warnings.len() == KEPT_MAX || self.infos.len() == KEPT_MAX
    }

    /// Returns the space of the texts, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.warnings.iter().chain(&self.infos).map(|text| size_of::<String>() + text.len()).sum()
    }

    /// Returns the warnings.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Returns how many of both kinds there are.
    pub(super) fn len(&self) -> usize {
        self.warnings.len() + self.infos.len()
    }

    /// Returns the infos.
    pub fn infos(&self) -> &[String] {
        &self.infos
    }
}

fn add(texts: &mut Vec<String>, text: String) {
    if texts.len() < KEPT_MAX && !texts.contains(&text) {
        texts.push(text);
    }
}

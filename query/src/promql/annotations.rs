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

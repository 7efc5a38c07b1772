//! Reads a query parameter by parameter, and collects every one at fault.

use std::fmt::Display;

use shared::problem::{Fault, Problem, Result};

const PAGE: usize = 50;
const PAGE_LIMIT: usize = 100;

/// A query being read.
pub(crate) struct Params {
    given: Vec<(String, String)>,
    faults: Vec<Fault>,
}

impl Params {
    pub(crate) fn new(given: Vec<(String, String)>) -> Result<Self> {
        let nul = given.iter().find(|(name, value)| name.contains('\0') || value.contains('\0'));
        match nul {
            Some((name, _)) => Err(Fault::in_query(name.replace('\0', ""), "must not contain NUL").into()),
            None => Ok(Self { given, faults: Vec::new() }),
        }
    }

    /// Reads a parameter by `parse`, whose error is what is wrong with it.
    pub(crate) fn take<T, E: Display>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        let at = self.given.iter().position(|(given, _)| given == name)?;
        let (_, value) = self.given.remove(at);
        if self.given.iter().any(|(given, _)| given == name) {
            self.given.retain(|(given, _)| given != name);
            self.faults.push(Fault::in_query(name, "must be given once"));
            return None;
        }
        match parse(&value) {
            Ok(value) => Some(value),
            Err(wrong) => {
                self.faults.push(Fault::in_query(name, wrong));
                None
            }
        }
    }

    /// Reads `limit`, the size of a page.
    pub(crate) fn limit(&mut self) -> usize {
        let limit = self.take("limit", |text| {
            let limit = text.parse().ok().filter(|limit| (1..=PAGE_LIMIT).contains(limit));
            limit.ok_or(format!("must be a whole number from 1 to {PAGE_LIMIT}"))
        });
        limit.unwrap_or(PAGE)
    }

    /// Ends the reading: whatever was not read is unknown.
    pub(crate) fn finish(mut self) -> Result<()> {
        let unknown = self.given.into_iter().map(|(name, _)| Fault::in_query(name, "is not a parameter of this list"));
        self.faults.extend(unknown);
        if self.faults.is_empty() { Ok(()) } else { Err(Problem::Invalid(self.faults)) }
    }
}

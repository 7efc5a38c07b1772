//! What is read from outside, as targets of a fuzzer that is guided by coverage: `cargo xtask fuzz` builds them instrumented and
//! runs each. A target takes any bytes, hands them to the product and asserts what must hold of the outcome; that nothing panics
//! holds for all.
//!
//! Seeds and words are made here from code, so that there is no folder of old inputs to keep in step. An ordinary build has the
//! targets too, without the fuzzer: a test runs each on its seeds.
//!
//! Parsers that are private are reached as their callers reach them, through a router whose database is away: what was read
//! as good ends in 503, and everything else in what is wrong with it.

mod targets;
mod world;

use std::{fs, path::Path};

/// Something that takes bytes from outside.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name of its file in `targets`.
    pub name: &'static str,
    /// Inputs to begin with: good ones, so that what lies behind the first checks is reached.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// What the fuzzer writes into inputs besides bytes.
    pub words: &'static [&'static str],
    /// Takes one input; panics where something does not hold.
    pub run: fn(&[u8]),
}

impl Target {
    /// The target of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        targets::ALL.iter().find(|target| target.name == name)
    }

    /// Writes the seeds into `corpus` and the words into `dictionary`, as libFuzzer reads them.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, corpus: &Path, dictionary: &Path) -> std::io::Result<()> {
        for (number, seed) in (self.seeds)().into_iter().enumerate() {
            fs::write(corpus.join(format!("seed-{number:02}")), seed)?;
        }
        let quoted = self.words.iter().map(|word| {
            let bytes = word.bytes().map(|byte| match byte {
                b'"' | b'\\' => format!("\\{}", char::from(byte)),
                b' '..=b'~' => char::from(byte).to_string(),
                _ => format!("\\x{byte:02x}"),
            });
            format!("\"{}\"\n", bytes.collect::<String>())
        });
        fs::write(dictionary, quoted.collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_takes_its_seeds_and_no_bytes_at_all() {
        for target in targets::ALL {
            (target.run)(b"");
            for seed in (target.seeds)() {
                (target.run)(&seed);
                // Cut anywhere, it may be refused and nothing else.
                (0..seed.len()).step_by(1 + seed.len() / 20).for_each(|end| (target.run)(&seed[..end]));
            }
        }
    }

    #[test]
    fn every_file_of_a_target_is_one() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/targets");
        let mut files: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|file| file.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        files.sort();
        let mut names: Vec<&str> = targets::ALL.iter().map(|target| target.name).collect();
        names.sort_unstable();
        assert_eq!(files, names);
    }
}

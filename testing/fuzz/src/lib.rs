//! Fuzz targets for every parser of external input. `cargo xtask fuzz` builds them with coverage instrumentation and runs each. A
//! target passes arbitrary bytes to the product and asserts properties of the outcome. No target may panic.
//!
//! Code generates the seeds and words, so there is no corpus folder to maintain. An ordinary build contains the targets too: a test
//! runs each on its seeds.
//!
//! Targets reach private parsers through a router whose database is unreachable. The router answers valid input with 503, and invalid
//! input with a problem about it.

mod offline;
mod targets;

use std::{fs, path::Path};

/// A fuzz target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name of its file in `targets`.
    pub name: &'static str,
    /// Initial inputs. They are valid, so that the fuzzer gets past the first checks.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// The dictionary of the fuzzer.
    pub words: &'static [&'static str],
    /// Runs one input; panics if a property does not hold.
    pub run: fn(&[u8]),
}

impl Target {
    /// The target with this name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        targets::ALL.iter().find(|target| target.name == name)
    }

    /// Writes the seeds to `corpus` and the words to `dictionary`, in libFuzzer's format.
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
    fn every_target_accepts_its_seeds_their_prefixes_and_empty_input() {
        for target in targets::ALL {
            (target.run)(b"");
            for seed in (target.seeds)() {
                (target.run)(&seed);
                // A truncated seed must not panic either.
                (0..seed.len()).step_by(1 + seed.len() / 20).for_each(|end| (target.run)(&seed[..end]));
            }
        }
    }

    #[test]
    fn every_file_in_targets_is_a_target() {
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

//! The fuzzer of one target, which `FUZZ_TARGET` names. Its arguments are libFuzzer's. `cargo xtask fuzz` builds and runs it.
//!
//! It first writes its seeds to the folder `FUZZ_CORPUS` and its words to the file `FUZZ_WORDS`, for libFuzzer.

#![no_main]

use std::{env, path::PathBuf, sync::OnceLock};

use fuzz::Target;
use libfuzzer_sys::fuzz_target;

static TARGET: OnceLock<&Target> = OnceLock::new();

fuzz_target!(
    init: {
        let name = env::var("FUZZ_TARGET").expect("FUZZ_TARGET names a target");
        let target = Target::find(&name).unwrap_or_else(|| panic!("there is no target {name}"));
        let path = |variable| env::var_os(variable).map(PathBuf::from);
        if let (Some(corpus), Some(words)) = (path("FUZZ_CORPUS"), path("FUZZ_WORDS")) {
            target.write(&corpus, &words).expect("the corpus can be written");
        }
        TARGET.set(target).expect("the target is set once");
    },
    |input: &[u8]| (TARGET.wait().run)(input)
);

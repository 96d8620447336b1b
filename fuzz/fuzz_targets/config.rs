#![no_main]

use tollgate_fuzz::{config, seed};

libfuzzer_sys::fuzz_target!(init: { seed(config::seeds) }, |data: &[u8]| config::run(data));

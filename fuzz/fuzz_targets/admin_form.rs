#![no_main]

use tollgate_fuzz::{forms, seed};

libfuzzer_sys::fuzz_target!(init: { seed(forms::admin_seeds) }, |data: &[u8]| forms::admin(data));

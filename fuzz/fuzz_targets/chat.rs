#![no_main]

use tollgate_fuzz::{chat, seed};

libfuzzer_sys::fuzz_target!(init: { seed(chat::seeds) }, |data: &[u8]| chat::run(data));

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| irqbroker_display::fuzz::rfb(data));

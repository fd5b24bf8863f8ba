#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| posted_irq::fuzz::posting_decision(input));

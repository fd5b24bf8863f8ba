#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| irqbroker_vgpu::fuzz::saved(data));

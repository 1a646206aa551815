//! Bytes of a compiled network: any bytes give an error or a network that runs, however few images there are, and that is written again as it was read.
#![no_main]

use candle_core::{Device, Tensor};
use pruning::Compiled;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(network) = Compiled::parse(bytes) else { return };
    let [channels, height, width] = network.image();
    // what fits a fuzzer's memory and time
    if channels * height * width > 1 << 12 {
        return;
    }
    for n in [0, 1, 7] {
        let images = Tensor::zeros((n, channels, height, width), network.dtype(), &Device::Cpu).unwrap();
        let _ = network.forward(&images);
    }
    let again = Compiled::parse(&network.to_bytes().unwrap()).unwrap();
    assert_eq!(again.plan(), network.plan());
});

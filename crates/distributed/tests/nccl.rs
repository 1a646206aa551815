//! NCCL, where the feature `nccl` is on and a GPU is there: a group of one, and as many ranks as there are GPUs.

#![cfg(feature = "nccl")]
#![allow(clippy::unwrap_used)]

use candle_core::Device;
use distributed::communicator::Alone;
use distributed::communicator::nccl::NcclCommunicator;
use distributed::{Communicator, Launch, launch};
use std::sync::Arc;

/// How many GPUs there are; said aloud if none.
fn devices() -> usize {
    let count = (0..16).take_while(|&at| Device::new_cuda(at).is_ok()).count();
    if count == 0 {
        println!("skipped: no CUDA device");
    }
    count
}

#[test]
fn a_group_of_one_keeps_its_values() {
    if devices() == 0 {
        return;
    }
    let ranks = NcclCommunicator::new(&Device::new_cuda(0).unwrap(), Arc::new(Alone)).unwrap();
    let mut values = [1f32, -2.5, 3e-9];
    ranks.allreduce_sum(&mut values).unwrap();
    assert_eq!(values, [1f32, -2.5, 3e-9]);
    assert_eq!(ranks.allgather(&[1, 2, 3]).unwrap(), [vec![1, 2, 3]]);
    assert_eq!(ranks.allgather(&[]).unwrap(), [vec![]; 1] as [Vec<u8>; 1]);
}

#[test]
fn ranks_on_several_gpus_add_up() {
    let count = devices();
    if count < 2 {
        println!("skipped: {count} CUDA devices");
        return;
    }
    launch(Launch::threads(count), |control| -> distributed::Result<()> {
        let rank = control.rank();
        let ranks = NcclCommunicator::new(&Device::new_cuda(rank)?, control)?;
        let mut values = vec![rank as f32; 10_000];
        ranks.allreduce_sum(&mut values)?;
        assert!(values.iter().all(|value| *value == (count * (count - 1) / 2) as f32));
        let all = ranks.allgather(&vec![rank as u8; rank])?;
        assert!(all.iter().enumerate().all(|(from, bytes)| *bytes == vec![from as u8; from]));
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_device_without_cuda_is_refused() {
    assert!(NcclCommunicator::new(&Device::Cpu, Arc::new(Alone)).is_err());
}

//! Nodes of the tape, found by the id of what they gave.

use super::Gradient;
use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, CustomOp3, Layout, MetalStorage, Result, Shape, Tensor, TensorId,
};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

/// The gradients of the arguments of an operation; `None` where none was asked for, or where it is zero.
pub(crate) type Found = [Option<Gradient>; 3];

/// How an operation hands a gradient on.
pub(crate) trait Rule: Send + Sync + 'static {
    /// The gradients of those of `inputs` that `needs` marks, given the result `y` and its gradient.
    ///
    /// # Errors
    /// Whatever cannot be computed.
    fn gradients(&self, inputs: &[&Tensor], y: &Tensor, grad: Gradient, needs: [bool; 3]) -> Result<Found>;
}

/// An operation with its arguments. Owned by the custom operation in Candle's graph of the result, so that it holds no result.
pub(super) struct Node<R: ?Sized> {
    id: OnceLock<TensorId>,
    inputs: [Option<Tensor>; 3],
    rule: R,
}

impl<R: Rule + ?Sized> Node<R> {
    pub(super) fn inputs(&self) -> impl Iterator<Item = &Tensor> {
        self.inputs.iter().flatten()
    }

    pub(super) fn gradients(&self, y: &Tensor, grad: Gradient, needs: [bool; 3]) -> Result<Found> {
        let [a, b, c] = &self.inputs;
        match (a, b, c) {
            (Some(a), Some(b), Some(c)) => self.rule.gradients(&[a, b, c], y, grad, needs),
            (Some(a), Some(b), None) => self.rule.gradients(&[a, b], y, grad, needs),
            (Some(a), ..) => self.rule.gradients(&[a], y, grad, needs),
            _ => Ok([None, None, None]),
        }
    }
}

impl<R: ?Sized> Drop for Node<R> {
    fn drop(&mut self) {
        if let Some(id) = self.id.get() {
            shard(id).remove(id);
        }
    }
}

type Nodes = HashMap<TensorId, Weak<Node<dyn Rule>>, BuildHasherDefault<IdHasher>>;

/// Ids count up, so that a multiplication spreads them.
#[derive(Default)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_usize(byte.into()));
    }

    fn write_usize(&mut self, id: usize) {
        self.0 = (self.0 ^ id as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
    }
}

/// Several maps, so that threads seldom wait for each other.
const SHARDS: usize = 16;

fn shard(id: &TensorId) -> MutexGuard<'static, Nodes> {
    static MAPS: [Mutex<Nodes>; SHARDS] =
        [const { Mutex::new(HashMap::with_hasher(BuildHasherDefault::new())) }; SHARDS];
    let mut hasher = IdHasher::default();
    std::hash::Hash::hash(id, &mut hasher);
    // Maps use the low bits and the highest seven. Nothing panics while it holds a lock.
    MAPS[(hasher.finish() >> 40) as usize % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
}

/// The node of a tensor, if an operation of ours gave it.
pub(super) fn find(id: &TensorId) -> Option<Arc<Node<dyn Rule>>> {
    shard(id).get(id).and_then(Weak::upgrade)
}

fn register<R: Rule>(y: &Tensor, node: Arc<Node<R>>) {
    let id = y.id();
    let node: Arc<Node<dyn Rule>> = node;
    if node.id.set(id).is_ok() {
        shard(&id).insert(id, Arc::downgrade(&node));
    }
}

/// A custom operation of Candle that owns a node.
struct Owner<R>(Arc<Node<R>>);

/// What `op` gives, recorded. It is a rule itself; one that is written against Candle alone goes through [`Plain1`] or [`Plain2`].
///
/// # Errors
/// Those of the operation.
pub(crate) fn apply1<R: Rule + CustomOp1>(a: &Tensor, op: R) -> Result<Tensor> {
    if !a.track_op() {
        return a.apply_op1_no_bwd(&op);
    }
    let node = Arc::new(Node { id: OnceLock::new(), inputs: [Some(a.clone()), None, None], rule: op });
    let y = a.apply_op1(Owner(node.clone()))?;
    register(&y, node);
    Ok(y)
}

/// As [`apply1`], of two tensors.
pub(crate) fn apply2<R: Rule + CustomOp2>(a: &Tensor, b: &Tensor, op: R) -> Result<Tensor> {
    if !(a.track_op() || b.track_op()) {
        return a.apply_op2_no_bwd(b, &op);
    }
    let node = Arc::new(Node { id: OnceLock::new(), inputs: [Some(a.clone()), Some(b.clone()), None], rule: op });
    let y = a.apply_op2(b, Owner(node.clone()))?;
    register(&y, node);
    Ok(y)
}

/// As [`apply1`], of three tensors.
pub(crate) fn apply3<R: Rule + CustomOp3>(a: &Tensor, b: &Tensor, c: &Tensor, op: R) -> Result<Tensor> {
    if !(a.track_op() || b.track_op() || c.track_op()) {
        return a.apply_op3_no_bwd(b, c, &op);
    }
    let inputs = [Some(a.clone()), Some(b.clone()), Some(c.clone())];
    let node = Arc::new(Node { id: OnceLock::new(), inputs, rule: op });
    let y = a.apply_op3(b, c, Owner(node.clone()))?;
    register(&y, node);
    Ok(y)
}

/// An operation that is written against Candle alone: its gradients go in and out as tensors.
pub(crate) struct Plain1<C>(pub(crate) C);
/// As [`Plain1`], of two tensors.
pub(crate) struct Plain2<C>(pub(crate) C);

impl<C: CustomOp1 + Send + Sync + 'static> Rule for Plain1<C> {
    fn gradients(&self, inputs: &[&Tensor], y: &Tensor, grad: Gradient, _: [bool; 3]) -> Result<Found> {
        let a = self.0.bwd(inputs[0], y, &grad.into_tensor(y)?)?;
        Ok([a.map(Gradient::Shared), None, None])
    }
}

impl<C: CustomOp2 + Send + Sync + 'static> Rule for Plain2<C> {
    fn gradients(&self, inputs: &[&Tensor], y: &Tensor, grad: Gradient, _: [bool; 3]) -> Result<Found> {
        let (a, b) = self.0.bwd(inputs[0], inputs[1], y, &grad.into_tensor(y)?)?;
        Ok([a.map(Gradient::Shared), b.map(Gradient::Shared), None])
    }
}

/// Hands the functions of a custom operation on to what is within.
macro_rules! hand_on {
    ($Op:ident, $Outer:ident, |$this:ident| $inner:expr, [$($x:ident $s:ident $l:ident),+], $Gradients:ty) => {
        impl<C: $Op> $Op for $Outer<C> {
            fn name(&self) -> &'static str {
                let $this = self;
                $inner.name()
            }

            fn cpu_fwd(&self, $($s: &CpuStorage, $l: &Layout),+) -> Result<(CpuStorage, Shape)> {
                let $this = self;
                $inner.cpu_fwd($($s, $l),+)
            }

            fn cuda_fwd(&self, $($s: &CudaStorage, $l: &Layout),+) -> Result<(CudaStorage, Shape)> {
                let $this = self;
                $inner.cuda_fwd($($s, $l),+)
            }

            fn metal_fwd(&self, $($s: &MetalStorage, $l: &Layout),+) -> Result<(MetalStorage, Shape)> {
                let $this = self;
                $inner.metal_fwd($($s, $l),+)
            }

            fn bwd(&self, $($x: &Tensor,)+ y: &Tensor, grad: &Tensor) -> Result<$Gradients> {
                let $this = self;
                $inner.bwd($($x,)+ y, grad)
            }
        }
    };
}

hand_on!(CustomOp1, Owner, |this| this.0.rule, [a s l], Option<Tensor>);
hand_on!(CustomOp2, Owner, |this| this.0.rule, [a s1 l1, b s2 l2], (Option<Tensor>, Option<Tensor>));
hand_on!(CustomOp3, Owner, |this| this.0.rule, [a s1 l1, b s2 l2, c s3 l3], (Option<Tensor>, Option<Tensor>, Option<Tensor>));
hand_on!(CustomOp1, Plain1, |this| this.0, [a s l], Option<Tensor>);
hand_on!(CustomOp2, Plain2, |this| this.0, [a s1 l1, b s2 l2], (Option<Tensor>, Option<Tensor>));

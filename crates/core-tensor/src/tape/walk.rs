//! The walk over the tape, from the loss to the variables.

use super::registry::{IdHasher, Node, Rule, find};
use super::{Gradient, views};
use candle_core::{CpuStorage, CustomOp2, DType, Layout, Result, Shape, Tensor, TensorId};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::BuildHasherDefault;
use std::sync::Arc;

/// What a tensor on the tape is to the walk.
enum Kind {
    Variable,
    Recorded(Arc<Node<dyn Rule>>),
    /// A view of the node at this position.
    View(usize),
    /// A result of an operation of Candle.
    Foreign,
}

/// What a walk found.
pub(crate) struct Outcome {
    /// Variables with their gradients, or parts of them if there is a `rest`.
    pub(crate) found: Vec<(Tensor, Tensor)>,
    /// A scalar whose gradients Candle's pass adds to those that were found: the way through operations of Candle.
    pub(crate) rest: Option<Tensor>,
}

type Positions = HashMap<TensorId, usize, BuildHasherDefault<IdHasher>>;

/// Called with a variable and its gradient.
type Observer<'a> = &'a mut (dyn FnMut(&Tensor, &Tensor) + 'static);

/// Walks the tape of `loss`. The observer is told of each variable whose gradient is complete, the moment it is. `None` when the graph is not one of floats on the CPU.
pub(crate) fn walk(loss: &Tensor, mut observer: Option<Observer<'_>>) -> Result<Option<Outcome>> {
    let nodes = loss.sorted_nodes();
    let is_ours = |node: &&Tensor| node.device().is_cpu() && matches!(node.dtype(), DType::F32 | DType::F64);
    if nodes.is_empty() || !nodes.iter().all(is_ours) {
        return Ok(None);
    }
    let kinds = kinds(&nodes);
    let incomplete = if observer.is_some() { behind_foreign(&nodes, &kinds) } else { HashSet::new() };
    let positions: Positions = nodes.iter().enumerate().map(|(at, node)| (node.id(), at)).collect();
    let mut slots: Vec<Option<Gradient>> = nodes.iter().map(|_| None).collect();
    slots[0] = Some(Gradient::Number(1.));
    let (mut found, mut foreign) = (Vec::new(), Vec::new());
    for (at, (node, kind)) in nodes.iter().zip(&kinds).enumerate() {
        let Some(gradient) = slots[at].take() else { continue };
        match kind {
            Kind::Variable => {
                let gradient = gradient.into_tensor(node)?;
                if let Some(observer) = &mut observer
                    && !incomplete.contains(&node.id())
                {
                    observer(node, &gradient);
                }
                found.push(((*node).clone(), gradient));
            }
            Kind::View(root) => views::accumulate(node, gradient, nodes[*root], &mut slots[*root])?,
            Kind::Foreign => foreign.push(((*node).clone(), gradient.into_tensor(node)?)),
            Kind::Recorded(rule) => {
                let mut targets = [None; 3];
                for (target, input) in targets.iter_mut().zip(rule.inputs()) {
                    *target = positions.get(&input.id()).copied();
                }
                let gradients = rule.gradients(node, gradient, targets.map(|target| target.is_some()))?;
                for (target, gradient) in targets.into_iter().zip(gradients) {
                    if let (Some(target), Some(gradient)) = (target, gradient) {
                        gradient.accumulate(&mut slots[target], nodes[target])?;
                    }
                }
            }
        }
    }
    Ok(Some(Outcome { found, rest: rest(foreign)? }))
}

/// What each node is; `nodes` are in the order of [`Tensor::sorted_nodes`].
fn kinds(nodes: &[&Tensor]) -> Vec<Kind> {
    let kind = |node: &&Tensor| match (node.is_variable(), find(&node.id())) {
        (true, _) => Kind::Variable,
        (_, Some(node)) => Kind::Recorded(node),
        _ => Kind::Foreign,
    };
    let mut kinds: Vec<Kind> = nodes.iter().map(kind).collect();
    if !kinds.iter().any(|kind| matches!(kind, Kind::Foreign)) {
        return kinds;
    }
    // Storages with the one variable or recorded result that has each; `None` if several have it, so that a view could be of any.
    let mut roots: HashMap<usize, Option<usize>> = HashMap::new();
    for (at, node) in nodes.iter().enumerate().filter(|(at, _)| !matches!(kinds[*at], Kind::Foreign)) {
        let root = node.is_contiguous().then_some(at);
        roots.entry(views::storage_of(node)).and_modify(|known| *known = None).or_insert(root);
    }
    // A tensor that is older than the variable is no view of it: the variable was made of its storage. Then nothing is known of others either.
    for (node, _) in nodes.iter().zip(&kinds).filter(|(_, kind)| matches!(kind, Kind::Foreign)) {
        if let Some(known) = roots.get_mut(&views::storage_of(node))
            && let Some(root) = known.filter(|&root| nodes[root].is_variable())
            && views::age(node) <= views::age(nodes[root])
        {
            *known = None;
        }
    }
    for (kind, node) in kinds.iter_mut().zip(nodes) {
        if let Kind::Foreign = kind
            && let Some(&Some(root)) = roots.get(&views::storage_of(node))
        {
            *kind = Kind::View(root);
        }
    }
    kinds
}

/// The variables that operations of Candle lead to: what the walk finds of their gradients may be a part.
fn behind_foreign(nodes: &[&Tensor], kinds: &[Kind]) -> HashSet<TensorId> {
    let mut behind = HashSet::new();
    for (node, _) in nodes.iter().zip(kinds).filter(|(_, kind)| matches!(kind, Kind::Foreign)) {
        // What lies behind a tensor that was seen was seen with it.
        if !behind.contains(&node.id()) {
            behind.extend(node.sorted_nodes().into_iter().map(Tensor::id));
        }
    }
    behind
}

/// `Σ ⟨tensor, gradient⟩` with the gradients as constants, without computing it.
fn rest(foreign: Vec<(Tensor, Tensor)>) -> Result<Option<Tensor>> {
    let mut sum: Option<Tensor> = None;
    for (tensor, gradient) in foreign {
        let before = match sum {
            Some(sum) => sum,
            None => Tensor::zeros((), DType::F32, tensor.device())?,
        };
        sum = Some(tensor.apply_op2(&before, Seed { gradient })?);
    }
    Ok(sum)
}

/// A scalar whose gradient with respect to the first argument is given, and with respect to the second, a scalar like it, what comes in.
struct Seed {
    gradient: Tensor,
}

impl CustomOp2 for Seed {
    fn name(&self) -> &'static str {
        "seed"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(vec![0.]), Shape::from(())))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((Some(self.gradient.clone()), Some(grad.clone())))
    }
}

/// Results of Candle's own operations in the graph of a loss, see [`foreign`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    /// Their shape.
    pub shape: Vec<usize>,
    /// Their dtype.
    pub dtype: DType,
    /// How many there are.
    pub count: usize,
}

/// The results of Candle's own operations in the graph of `loss`, by shape and dtype, the largest first: whatever leads to them takes Candle's pass in [`crate::backward`], which is slower. Views
/// (reshaped, transposed, narrowed and broadcast tensors) are none. Empty for a graph that is walked as a whole. Candle does not tell which operation gave a tensor.
///
/// ```
/// # use candle_core::{Device, Tensor, Var};
/// use core_tensor::{ops, tape};
/// let x = Var::new(&[1f32, 2.], &Device::Cpu)?;
/// assert!(tape::foreign(&ops::sum_all(&ops::tanh(&x)?)?).is_empty());
/// let squares = x.sqr()?;
/// assert_eq!(tape::foreign(&ops::sum_all(&squares)?)[0].shape, [2]);
/// # Ok::<(), core_tensor::Error>(())
/// ```
pub fn foreign(loss: &Tensor) -> Vec<Foreign> {
    let nodes = loss.sorted_nodes();
    let mut counts: BTreeMap<(usize, Vec<usize>, &str), (DType, usize)> = BTreeMap::new();
    for (node, _) in nodes.iter().zip(kinds(&nodes)).filter(|(_, kind)| matches!(kind, Kind::Foreign)) {
        let key = (node.elem_count(), node.dims().to_vec(), node.dtype().as_str());
        counts.entry(key).or_insert((node.dtype(), 0)).1 += 1;
    }
    let listed = counts.into_iter().rev();
    listed.map(|((_, shape, _), (dtype, count))| Foreign { shape, dtype, count }).collect()
}

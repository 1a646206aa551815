//! "Analyzing and Mitigating Interference in Neural Architecture Search" (Xu, Tan, Song, Luo, Leng, Qin, Liu, Li; ICML 2022): the paper's spaces, and where its parts are.
//!
//! A super-net scores an architecture with weights that it shares with all others. Children that share an operator pull its weights in different directions, which the paper calls interference and measures as the cosine similarity of their gradients; MAGIC lowers it.
//! No official code is known, and the paper's text was not at hand: its abstract is what is quoted, everything else is marked as recalled or chosen.
//!
//! | the paper's | is |
//! |---|---|
//! | super-net, single path, uniform (SPOS) | [`SuperNet`](crate::SuperNet), [`Uniform`](crate::Uniform), [`train_step`](crate::train_step) |
//! | interference `s_l(α, β)` | [`Probe::gradient_cosine`](crate::Probe::gradient_cosine) |
//! | observation 1, distance | [`Probe::by_distance`](crate::Probe::by_distance), [`Probe::heat_map`](crate::Probe::heat_map) |
//! | observation 2, inputs and outputs | [`Probe::association`](crate::Probe::association), [`Probe::forced_input`](crate::Probe::forced_input), [`Probe::forced_output`](crate::Probe::forced_output) |
//! | MAGIC-T, gradual modification | [`Gradual`](crate::Gradual) |
//! | MAGIC-A, alignment with an anchor | [`alignment`](crate::alignment()), [`Anchor`](crate::Anchor) |
//! | baselines FairNAS, SUMNAS | [`Fair`](crate::Fair), [`reptile_step`](crate::reptile_step) |
//! | search | [`search::evolutionary`](crate::search::evolutionary) |

use crate::operator::{SequenceConfig, sequence_operator};
use crate::space::SearchSpace;
use crate::supernet::{Blueprint, Ends};
use crate::{Error, Result};
use candle_core::{DType, Tensor};
use candle_nn::{Init, Module, VarBuilder};
use core_tensor::Mode;
use core_tensor::nn::{Linear, linear};
use core_tensor::ops;

/// Sizes of a masked language model over operators on sequences.
#[derive(Debug, Clone, PartialEq)]
pub struct MaskedLanguageConfig {
    /// Tokens, without the mask, which is one more.
    pub vocabulary: usize,
    /// Tokens of a sequence.
    pub length: usize,
    /// Layers.
    pub layers: usize,
    /// Candidates of each layer, names of [`sequence_operator`].
    pub operators: Vec<String>,
    /// Sizes of operators.
    pub sizes: SequenceConfig,
}

impl MaskedLanguageConfig {
    /// The small space of this reproduction: 5 layers of attention, feed-forward and convolution (separable, kernel 3), 243 architectures, width 24, 2 heads, feed-forward 48, 12 tokens and a mask, sequences of 16.
    pub fn tiny() -> Self {
        Self {
            vocabulary: 12,
            length: 16,
            layers: 5,
            operators: ["attention", "feed_forward", "convolution"].map(str::to_owned).to_vec(),
            sizes: SequenceConfig { feed_forward: 48, ..SequenceConfig::new(24, 2) },
        }
    }

    /// BERT's space as chosen here (the paper's exact one is not known to us): 24 layers of width 768 from attention with 12 heads, feed-forward 3072, and separable convolutions 3, 5 and 7.
    pub fn bert_base(vocabulary: usize, length: usize) -> Self {
        Self {
            vocabulary,
            length,
            layers: 24,
            operators: ["attention", "feed_forward", "sep3", "sep5", "sep7"].map(str::to_owned).to_vec(),
            sizes: SequenceConfig::new(768, 12),
        }
    }

    /// The space.
    ///
    /// # Errors
    /// No layers or operators.
    pub fn space(&self) -> Result<SearchSpace> {
        SearchSpace::uniform(self.layers, &self.operators.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// A blueprint: `embedding` `[vocabulary + 1, width]`, learned `position` `[length, width]`, the layers, and `output`, a linear layer to the tokens. Inputs are token numbers `[batch, length]`, predictions logits `[batch, length, vocabulary]`.
    ///
    /// # Errors
    /// As [`space`](Self::space).
    pub fn blueprint(&self) -> Result<Blueprint> {
        let (own, sizes) = (self.clone(), self.sizes);
        let operators = move |_: usize, name: &str, vb: VarBuilder<'_>| sequence_operator(name, &sizes, vb);
        Ok(Blueprint::new(self.space()?, move |vb| own.ends(vb), operators))
    }

    /// Embedding, positions and output, for blueprints with operators of one's own.
    ///
    /// # Errors
    /// Parameters that exist with other shapes.
    pub fn ends(&self, vb: VarBuilder<'_>) -> Result<Box<dyn Ends>> {
        Ok(Box::new(LanguageEnds::new(self, vb)?))
    }
}

struct LanguageEnds {
    embedding: Tensor,
    position: Tensor,
    output: Linear,
}

impl LanguageEnds {
    fn new(config: &MaskedLanguageConfig, vb: VarBuilder<'_>) -> Result<Self> {
        let width = config.sizes.width;
        // BERT's for embeddings
        let init = Init::Randn { mean: 0.0, stdev: 0.02 };
        Ok(Self {
            embedding: vb.get_with_hints((config.vocabulary + 1, width), "embedding", init)?,
            position: vb.get_with_hints((config.length, width), "position", init)?,
            output: linear(width, config.vocabulary, vb.pp("output"))?,
        })
    }
}

impl Ends for LanguageEnds {
    fn stem(&self, x: &Tensor, _: &mut Mode<'_>) -> Result<Tensor> {
        let (length, width) = self.position.dims2()?;
        let &[batch, own] = x.dims() else {
            return Err(Error::invalid(
                "stem",
                format!("token numbers of shape {:?}, expected [batch, length]", x.dims()),
            ));
        };
        if own != length {
            return Err(Error::invalid("stem", format!("sequences of {own} tokens, expected {length}")));
        }
        let tokens = ops::embedding(&self.embedding, &x.flatten_all()?)?.reshape((batch, length * width))?;
        let positions = self.position.reshape((1, length * width))?;
        Ok(ops::add(&tokens, &positions)?.reshape((batch, length, width))?)
    }

    fn head(&self, hidden: &Tensor, _: &mut Mode<'_>) -> Result<Tensor> {
        Ok(self.output.forward(hidden)?)
    }

    fn multiplications(&self, shape: &[usize]) -> u64 {
        shape.iter().product::<usize>() as u64 * self.output.weight().elem_count() as u64
    }
}

/// The mean cross-entropy over masked positions of a batch: `targets` and `mask` (1 where masked) are `[batch, length]`.
///
/// # Errors
/// Shapes that do not fit, or no masked position.
pub fn masked_loss(logits: &Tensor, targets: &Tensor, mask: &Tensor) -> Result<Tensor> {
    let (logits, targets) = masked(logits, targets, mask)?;
    Ok(ops::cross_entropy(&logits, &targets)?)
}

/// The share of masked positions that are guessed right.
///
/// # Errors
/// As [`masked_loss`].
pub fn masked_accuracy(logits: &Tensor, targets: &Tensor, mask: &Tensor) -> Result<f64> {
    let (logits, targets) = masked(&logits.detach(), targets, mask)?;
    let right = logits.argmax(1)?.eq(&targets.to_dtype(DType::U32)?)?.to_dtype(DType::F64)?;
    Ok(right.mean_all()?.to_scalar::<f64>()?)
}

/// Logits and targets of the masked positions, in their order.
fn masked(logits: &Tensor, targets: &Tensor, mask: &Tensor) -> Result<(Tensor, Tensor)> {
    const OPERATION: &str = "masked_loss";
    let &[batch, length, vocabulary] = logits.dims() else {
        let reason = format!("logits of shape {:?}, expected [batch, length, vocabulary]", logits.dims());
        return Err(Error::invalid(OPERATION, reason));
    };
    for (what, tensor) in [("targets", targets), ("mask", mask)] {
        if tensor.dims() != [batch, length] {
            let reason = format!("{what} of shape {:?}, expected [{batch}, {length}]", tensor.dims());
            return Err(Error::invalid(OPERATION, reason));
        }
    }
    let mask = mask.to_dtype(DType::U8)?.flatten_all()?.to_vec1::<u8>()?;
    let places: Vec<u32> = (0..mask.len() as u32).filter(|&place| mask[place as usize] != 0).collect();
    if places.is_empty() {
        return Err(Error::invalid(OPERATION, "no position is masked"));
    }
    let index = Tensor::new(places, logits.device())?;
    let logits = ops::index_select(&logits.reshape((batch * length, vocabulary))?, &index, 0)?;
    Ok((logits, targets.flatten_all()?.to_dtype(DType::U32)?.index_select(&index, 0)?))
}

//! Which channels of each value must be computed. A channel that does not depend on the images is a constant; what follows takes it as a bias. A channel that nothing uses goes too.

use super::fold::{Folded, Kind};

/// What is known of a channel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Channel {
    /// It depends on the images, or on the position.
    Varies,
    Constant(f64),
}

/// For each folded node what its channels are, and which of them are computed, in their order.
pub(super) struct Channels {
    pub(super) of: Vec<Vec<Channel>>,
    pub(super) computed: Vec<Vec<usize>>,
}

impl Channels {
    pub(super) fn find(nodes: &[Folded], output: usize) -> Self {
        // channels that must be computed even where they are constant
        let mut is_forced: Vec<Vec<bool>> = nodes.iter().map(|node| vec![false; node.shape[0]]).collect();
        is_forced[output].fill(true);
        loop {
            let (of, forced) = forward(nodes, &is_forced);
            let is_settled = forced.iter().all(|&(node, channel)| is_forced[node][channel]);
            if is_settled {
                return Self { computed: computed(nodes, output, &of), of };
            }
            forced.into_iter().for_each(|(node, channel)| is_forced[node][channel] = true);
        }
    }

    /// Where a channel of a node is among those that are computed.
    pub(super) fn position(&self, node: usize, channel: usize) -> Option<usize> {
        self.computed[node].binary_search(&channel).ok()
    }

    /// The number that a channel always is.
    pub(super) fn constant(&self, node: usize, channel: usize) -> Option<f64> {
        match self.of[node][channel] {
            Channel::Constant(value) => Some(value),
            Channel::Varies => None,
        }
    }
}

/// The channels of all nodes, and those channels of inputs that must be computed for it, as pairs of node and channel.
fn forward(nodes: &[Folded], is_forced: &[Vec<bool>]) -> (Vec<Vec<Channel>>, Vec<(usize, usize)>) {
    let mut all: Vec<Vec<Channel>> = Vec::with_capacity(nodes.len());
    let mut forced = Vec::new();
    for (at, node) in nodes.iter().enumerate() {
        let mut found = of_node(node, &all, &mut forced);
        for channel in 0..found.len() {
            if !is_forced[at][channel] || found[channel] == Channel::Varies {
                continue;
            }
            found[channel] = Channel::Varies;
            // convolutions and sums write constants, others pass them on
            match &node.kind {
                Kind::Input | Kind::Convolution(_) | Kind::Add => {}
                Kind::Concat => {
                    let mut left = channel;
                    for &input in &node.inputs {
                        if left < all[input].len() {
                            forced.push((input, left));
                            break;
                        }
                        left -= all[input].len();
                    }
                }
                Kind::Flatten => {
                    let plane = node.shape[0] / all[node.inputs[0]].len().max(1);
                    forced.push((node.inputs[0], channel / plane.max(1)));
                }
                _ => forced.push((node.inputs[0], channel)),
            }
        }
        all.push(found);
    }
    (all, forced)
}

fn of_node(node: &Folded, all: &[Vec<Channel>], forced: &mut Vec<(usize, usize)>) -> Vec<Channel> {
    let inputs = |at: usize| all[node.inputs[at]].as_slice();
    let is_zero = |of: Channel| of == Channel::Constant(0.0);
    match &node.kind {
        Kind::Input => vec![Channel::Varies; node.shape[0]],
        Kind::Convolution(weight) => {
            let of_row = |row: usize| {
                let (mut value, mut varies) = (weight.bias[row], false);
                for (channel, taps) in weight.of_row(row).filter(|(_, taps)| taps.iter().any(|&tap| tap != 0.0)) {
                    match inputs(0)[channel] {
                        Channel::Varies => varies = true,
                        Channel::Constant(0.0) => {}
                        Channel::Constant(constant) => {
                            value += constant * taps.iter().sum::<f64>();
                            // another number at the borders, where zeros are read
                            varies |= weight.is_padded();
                            if weight.is_padded() && weight.config.groups > 1 {
                                forced.push((node.inputs[0], channel));
                            }
                        }
                    }
                }
                if varies { Channel::Varies } else { Channel::Constant(node.rectified(value)) }
            };
            (0..weight.rows).map(of_row).collect()
        }
        Kind::Affine { scale, shift } => {
            let of = |((&of, &scale), &shift): ((&Channel, &f64), &f64)| match of {
                Channel::Constant(value) => Channel::Constant(node.rectified(value * scale + shift)),
                Channel::Varies if scale == 0.0 => Channel::Constant(node.rectified(shift)),
                Channel::Varies => Channel::Varies,
            };
            inputs(0).iter().zip(scale).zip(shift).map(of).collect()
        }
        Kind::Add => {
            let of = |(&a, &b): (&Channel, &Channel)| match (a, b) {
                (Channel::Constant(a), Channel::Constant(b)) => Channel::Constant(node.rectified(a + b)),
                _ => Channel::Varies,
            };
            inputs(0).iter().zip(inputs(1)).map(of).collect()
        }
        Kind::Concat => node.inputs.iter().flat_map(|&input| all[input].iter().copied()).collect(),
        Kind::AveragePool(config) if config.padding != (0, 0) => {
            // the padding's zeros count, so that a constant is another one at the borders
            let of = |(channel, &of): (usize, &Channel)| {
                if of == Channel::Varies || is_zero(of) {
                    return of;
                }
                forced.push((node.inputs[0], channel));
                Channel::Varies
            };
            inputs(0).iter().enumerate().map(of).collect()
        }
        Kind::MaxPool(_) | Kind::AveragePool(_) | Kind::GlobalAveragePool => inputs(0).to_vec(),
        Kind::Flatten => {
            let plane = node.shape[0] / inputs(0).len().max(1);
            inputs(0).iter().flat_map(|&of| std::iter::repeat_n(of, plane)).collect()
        }
    }
}

/// The channels that are computed: what varies and is used. What passes channels on has those of its inputs.
fn computed(nodes: &[Folded], output: usize, of: &[Vec<Channel>]) -> Vec<Vec<usize>> {
    let mut is_used: Vec<Vec<bool>> = nodes.iter().map(|node| vec![false; node.shape[0]]).collect();
    is_used[output].fill(true);
    for (at, node) in nodes.iter().enumerate().rev() {
        let used: Vec<usize> =
            (0..node.shape[0]).filter(|&channel| is_used[at][channel] && of[at][channel] == Channel::Varies).collect();
        match &node.kind {
            Kind::Input => {}
            Kind::Convolution(weight) => {
                for row in used {
                    for (channel, taps) in weight.of_row(row) {
                        is_used[node.inputs[0]][channel] |= taps.iter().any(|&tap| tap != 0.0);
                    }
                }
            }
            Kind::Concat => {
                let mut first = 0;
                for &input in &node.inputs {
                    let channels = of[input].len();
                    let own = used.iter().filter(|&&channel| (first..first + channels).contains(&channel));
                    own.for_each(|&channel| is_used[input][channel - first] = true);
                    first += channels;
                }
            }
            Kind::Flatten => {
                let plane = node.shape[0] / of[node.inputs[0]].len().max(1);
                used.iter().for_each(|&channel| is_used[node.inputs[0]][channel / plane.max(1)] = true);
            }
            _ => {
                for &input in &node.inputs {
                    used.iter().for_each(|&channel| is_used[input][channel] = true);
                }
            }
        }
    }
    let mut all: Vec<Vec<usize>> = Vec::with_capacity(nodes.len());
    for (at, node) in nodes.iter().enumerate() {
        let own = |channel: &usize| is_used[at][*channel] && of[at][*channel] == Channel::Varies;
        all.push(match &node.kind {
            Kind::Input => (0..node.shape[0]).collect(),
            Kind::Convolution(_) | Kind::Add => (0..node.shape[0]).filter(own).collect(),
            Kind::Concat => {
                let mut first = 0;
                let mut joined = Vec::new();
                for &input in &node.inputs {
                    joined.extend(all[input].iter().map(|channel| first + channel));
                    first += of[input].len();
                }
                joined
            }
            Kind::Flatten => {
                let plane = node.shape[0] / of[node.inputs[0]].len().max(1);
                all[node.inputs[0]].iter().flat_map(|channel| channel * plane..(channel + 1) * plane).collect()
            }
            _ => all[node.inputs[0]].clone(),
        });
    }
    all
}

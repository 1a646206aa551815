//! Drawings of graphs.

use super::Node;
use super::body::{Body, LegendSign, TEXT_SIZE, WIDTH};
use super::canvas::{Anchor, Canvas, Point, Tone, fitted};

const HEIGHT: f64 = 400.0;
const MARGIN: f64 = 30.0;

/// Graphs with more nodes than this are drawn without labels.
const MOST_LABELS: usize = 60;

pub(super) fn graph<'a>(nodes: &'a [Node], edges: &'a [(usize, usize)]) -> Body<'a> {
    let clusters = nodes.iter().map(|node| node.cluster + 1).max().unwrap_or(0);
    let name = |cluster: usize| (format!("cluster {cluster}"), LegendSign::Box);
    // A legend of dozens of clusters explains nothing.
    let legend = if clusters <= 8 { (0..clusters).map(name).collect() } else { Vec::new() };
    let draw = move |canvas: &mut Canvas<'_>, top: f64| {
        let places = places(nodes, top);
        for &(from, to) in edges {
            if let (Some(from), Some(to)) = (places[from], places[to]) {
                canvas.line(from, to, Tone::Soft, 1.0);
            }
        }
        let radius = (60.0 / (nodes.len() as f64).sqrt()).clamp(2.0, 8.0);
        for (node, place) in nodes.iter().zip(&places) {
            let Some(place) = *place else { continue };
            canvas.disc(place, radius + 1.0, Tone::Ground);
            canvas.disc(place, radius, Tone::Series(node.cluster));
            if nodes.len() <= MOST_LABELS && !node.label.is_empty() {
                let at = (place.0 + radius + 3.0, place.1 - radius);
                canvas.text(at, &fitted(&node.label, TEXT_SIZE, 120.0), TEXT_SIZE - 1.0, Tone::Ink, Anchor::Start);
            }
        }
        if places.iter().all(Option::is_none) {
            let middle = (WIDTH / 2.0, top + HEIGHT / 2.0);
            canvas.text(middle, "no nodes to draw", TEXT_SIZE, Tone::Soft, Anchor::Middle);
        }
    };
    Body { height: HEIGHT, legend, draw: Box::new(draw) }
}

/// Scales positions to the drawing with one factor for both directions, so that shapes keep their proportions.
fn places(nodes: &[Node], top: f64) -> Vec<Option<Point>> {
    let finite = || nodes.iter().filter(|node| node.x.is_finite() && node.y.is_finite());
    let extremes = |coordinate: fn(&Node) -> f64| {
        let values = || finite().map(coordinate);
        (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max))
    };
    let ((left, right), (low, high)) = (extremes(|node| node.x), extremes(|node| node.y));
    let room = (WIDTH - 2.0 * MARGIN, HEIGHT - 2.0 * MARGIN);
    let factor = (room.0 / (right - left)).min(room.1 / (high - low));
    let factor = if factor.is_finite() { factor } else { 0.0 };
    let center = ((left / 2.0 + right / 2.0), (low / 2.0 + high / 2.0));
    let place = |node: &Node| {
        let is_finite = node.x.is_finite() && node.y.is_finite();
        let across = WIDTH / 2.0 + (node.x - center.0) * factor;
        let height = top + HEIGHT / 2.0 - (node.y - center.1) * factor;
        is_finite.then_some((across, height))
    };
    nodes.iter().map(place).collect()
}

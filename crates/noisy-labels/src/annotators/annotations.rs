//! Labels that several annotators gave to several items.

use crate::{Error, Result};
use std::collections::BTreeMap;

const OP: &str = "Annotations";

/// One label that one annotator gave to one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Annotation {
    /// The number of the item, from 0.
    pub item: u32,
    /// The number of the annotator, from 0.
    pub annotator: u32,
    /// The class.
    pub label: u32,
}

/// Labels of items by annotators, any number of each, ordered by item and annotator: the order in which they were given changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotations {
    num_classes: usize,
    num_annotators: usize,
    all: Vec<Annotation>,
    /// Where the annotations of each item begin in `all`.
    items: Vec<u32>,
    /// Positions in `all`, ordered by annotator and item, with where each annotator's begin.
    by_annotator: Vec<u32>,
    annotators: Vec<u32>,
    repeated: usize,
}

/// [`Annotations`] of items and annotators with names of any kind, in ascending order of the names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named<I, A> {
    /// The annotations by number.
    pub annotations: Annotations,
    /// The item of each number.
    pub items: Vec<I>,
    /// The annotator of each number.
    pub annotators: Vec<A>,
}

impl Annotations {
    /// Annotations of `num_items` items by `num_annotators` annotators, some of which may have none. One that is given twice counts once.
    ///
    /// # Errors
    ///
    /// No classes, more than 2³² − 1 annotations, numbers that are out of range, and an annotator who gave an item two different labels.
    pub fn new(
        num_items: usize,
        num_annotators: usize,
        num_classes: usize,
        annotations: impl IntoIterator<Item = Annotation>,
    ) -> Result<Self> {
        if num_classes == 0 {
            return Err(Error::Empty { operation: OP, what: "classes" });
        }
        let mut all: Vec<Annotation> = annotations.into_iter().collect();
        if all.len() > u32::MAX as usize || num_items > u32::MAX as usize || num_annotators > u32::MAX as usize {
            return Err(Error::length(OP, "annotations, items or annotators", all.len(), "fewer than 2^32"));
        }
        for (position, annotation) in all.iter().enumerate() {
            let numbers = [
                ("the item of annotation", annotation.item, num_items),
                ("the annotator of annotation", annotation.annotator, num_annotators),
                ("the label of annotation", annotation.label, num_classes),
            ];
            for (what, index, bound) in numbers {
                if index as usize >= bound {
                    return Err(Error::OutOfRange { operation: OP, what, position, index: index.into(), bound });
                }
            }
        }
        all.sort_unstable();
        let before = all.len();
        all.dedup();
        let repeated = before - all.len();
        let mut pairs = all.iter().zip(all.iter().skip(1));
        if let Some((a, b)) = pairs.find(|(a, b)| (a.item, a.annotator) == (b.item, b.annotator)) {
            let reason =
                format!("annotator {} gave item {} the labels {} and {}", a.annotator, a.item, a.label, b.label);
            return Err(Error::InvalidData { operation: OP, what: "annotations", reason });
        }
        let items = starts(num_items, all.iter().map(|annotation| annotation.item));
        let annotators = starts(num_annotators, all.iter().map(|annotation| annotation.annotator));
        let mut next = annotators.clone();
        let mut by_annotator = vec![0; all.len()];
        for (position, annotation) in (0u32..).zip(&all) {
            let place = &mut next[annotation.annotator as usize];
            by_annotator[*place as usize] = position;
            *place += 1;
        }
        Ok(Self { num_classes, num_annotators, all, items, by_annotator, annotators, repeated })
    }

    /// Annotations of items and annotators with names: all those that occur, in ascending order.
    ///
    /// # Errors
    ///
    /// As for [`Annotations::new`], and no annotation at all.
    ///
    /// ```
    /// use noisy_labels::annotators::Annotations;
    ///
    /// let given = [("cat.png", "ann", 0), ("cat.png", "bob", 0), ("dog.png", "bob", 1)];
    /// let named = Annotations::named(2, given)?;
    /// assert_eq!((named.items, named.annotators), (vec!["cat.png", "dog.png"], vec!["ann", "bob"]));
    /// # Ok::<(), noisy_labels::Error>(())
    /// ```
    pub fn named<I: Ord + Clone, A: Ord + Clone>(
        num_classes: usize,
        given: impl IntoIterator<Item = (I, A, u32)>,
    ) -> Result<Named<I, A>> {
        let given: Vec<(I, A, u32)> = given.into_iter().collect();
        if given.is_empty() {
            return Err(Error::Empty { operation: OP, what: "annotations" });
        }
        let items = numbered(given.iter().map(|(item, _, _)| item.clone()));
        let annotators = numbered(given.iter().map(|(_, annotator, _)| annotator.clone()));
        let all = given.iter().filter_map(|(item, annotator, label)| {
            Some(Annotation { item: *items.get(item)?, annotator: *annotators.get(annotator)?, label: *label })
        });
        let annotations = Self::new(items.len(), annotators.len(), num_classes, all)?;
        Ok(Named { annotations, items: items.into_keys().collect(), annotators: annotators.into_keys().collect() })
    }

    /// How many items there are, with and without annotations.
    pub fn num_items(&self) -> usize {
        self.items.len() - 1
    }

    /// How many annotators there are, with and without annotations.
    pub fn num_annotators(&self) -> usize {
        self.num_annotators
    }

    /// How many classes there are.
    pub fn num_classes(&self) -> usize {
        self.num_classes
    }

    /// How many annotations there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// How many annotations were given more than once, with the same label.
    pub fn num_repeated(&self) -> usize {
        self.repeated
    }

    /// The annotations of an item, ordered by annotator. Empty for a number beyond the items.
    pub fn of_item(&self, item: usize) -> &[Annotation] {
        match (self.items.get(item), self.items.get(item.saturating_add(1))) {
            (Some(&start), Some(&end)) => &self.all[start as usize..end as usize],
            _ => &[],
        }
    }

    /// The annotations of an annotator, ordered by item. Empty for a number beyond the annotators.
    pub fn of_annotator(&self, annotator: usize) -> impl ExactSizeIterator<Item = &Annotation> {
        let range = match (self.annotators.get(annotator), self.annotators.get(annotator.saturating_add(1))) {
            (Some(&start), Some(&end)) => start as usize..end as usize,
            _ => 0..0,
        };
        self.by_annotator[range].iter().map(|&position| &self.all[position as usize])
    }

    /// All annotations, ordered by item and annotator.
    pub fn all(&self) -> &[Annotation] {
        &self.all
    }

    /// The items without any annotation: no model says anything of them.
    pub fn silent_items(&self) -> Vec<usize> {
        (0..self.num_items()).filter(|&item| self.of_item(item).is_empty()).collect()
    }

    /// The annotators without any annotation.
    pub fn silent_annotators(&self) -> Vec<usize> {
        (0..self.num_annotators).filter(|&annotator| self.of_annotator(annotator).len() == 0).collect()
    }
}

/// Where the runs of each number begin in a list that is sorted by it, or would be.
fn starts(count: usize, numbers: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut starts = vec![0u32; count + 1];
    for number in numbers {
        starts[number as usize + 1] += 1;
    }
    for at in 0..count {
        starts[at + 1] += starts[at];
    }
    starts
}

/// The number of each name, in ascending order of the names.
fn numbered<N: Ord>(names: impl Iterator<Item = N>) -> BTreeMap<N, u32> {
    let mut numbers: BTreeMap<N, u32> = names.map(|name| (name, 0)).collect();
    numbers.values_mut().zip(0..).for_each(|(number, at)| *number = at);
    numbers
}

//! Sets of sub-classifiers as words of 64 bits.

/// Words of a set of `len` elements.
pub(crate) fn words(len: usize) -> usize {
    len.div_ceil(64)
}

#[inline(always)]
pub(crate) fn insert(set: &mut [u64], element: usize) {
    set[element / 64] |= 1 << (element % 64);
}

#[inline(always)]
pub(crate) fn contains(set: &[u64], element: usize) -> bool {
    set[element / 64] >> (element % 64) & 1 == 1
}

#[inline(always)]
pub(crate) fn count(set: &[u64]) -> u32 {
    set.iter().map(|word| word.count_ones()).sum()
}

/// How many elements two sets share.
#[inline(always)]
pub(crate) fn count_and(a: &[u64], b: &[u64]) -> u32 {
    a.iter().zip(b).map(|(a, b)| (a & b).count_ones()).sum()
}

/// The elements in ascending order.
pub(crate) fn elements(set: &[u64]) -> impl Iterator<Item = usize> + '_ {
    set.iter().enumerate().flat_map(|(at, &word)| {
        let mut word = word;
        std::iter::from_fn(move || {
            let offset = (word != 0).then(|| word.trailing_zeros() as usize)?;
            word &= word - 1;
            Some(at * 64 + offset)
        })
    })
}

pub(crate) fn from_elements(len: usize, elements: impl IntoIterator<Item = usize>) -> Vec<u64> {
    let mut set = vec![0; words(len)];
    elements.into_iter().for_each(|element| insert(&mut set, element));
    set
}

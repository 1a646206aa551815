//! Lists of the members of groups.

/// The members of each of `num_groups` groups in ascending order: group `b` is `members[starts[b]..starts[b + 1]]`.
pub(super) fn group_members(parents: &[u32], num_groups: usize) -> (Vec<usize>, Vec<u32>) {
    let mut starts = vec![0usize; num_groups + 1];
    for &parent in parents {
        starts[parent as usize + 1] += 1;
    }
    for b in 0..num_groups {
        starts[b + 1] += starts[b];
    }
    let mut next = starts.clone();
    let mut members = vec![0u32; parents.len()];
    for (vertex, &parent) in parents.iter().enumerate() {
        members[next[parent as usize]] = vertex as u32;
        next[parent as usize] += 1;
    }
    (starts, members)
}

//! A small published social network.

use super::Graph;

/// The club's two factions after its split: 0 for the instructor's (node 0), 1 for the administrator's (node 33).
pub const KARATE_CLUB_FACTIONS: [u32; 34] =
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 1, 0, 0, 1, 0, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1];

/// For each member the members of larger number that he met outside the club.
const FRIENDS: [&[u32]; 34] = [
    &[1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 17, 19, 21, 31],
    &[2, 3, 7, 13, 17, 19, 21, 30],
    &[3, 7, 8, 9, 13, 27, 28, 32],
    &[7, 12, 13],
    &[6, 10],
    &[6, 10, 16],
    &[16],
    &[],
    &[30, 32, 33],
    &[33],
    &[],
    &[],
    &[],
    &[33],
    &[32, 33],
    &[32, 33],
    &[],
    &[],
    &[32, 33],
    &[33],
    &[32, 33],
    &[],
    &[32, 33],
    &[25, 27, 29, 32, 33],
    &[25, 27, 31],
    &[31],
    &[29, 33],
    &[33],
    &[31, 33],
    &[32, 33],
    &[32, 33],
    &[32, 33],
    &[33],
    &[],
];

/// The karate club: 34 members, 78 friendships (W. W. Zachary, An information flow model for conflict and fission in small
/// groups, Journal of Anthropological Research 33(4), 1977). Unweighted, numbered from 0.
pub fn karate_club() -> Graph {
    let edges = (0u32..)
        .zip(FRIENDS)
        .flat_map(|(member, friends)| friends.iter().map(move |&friend| (member, friend)))
        .collect();
    Graph { num_nodes: FRIENDS.len(), edges }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_club_has_the_published_sizes_and_degrees() {
        let club = karate_club();
        assert_eq!((club.num_nodes, club.edges.len()), (34, 78));
        let mut degrees = [0; 34];
        for &(u, v) in &club.edges {
            assert!(u < v);
            degrees[u as usize] += 1;
            degrees[v as usize] += 1;
        }
        assert_eq!((degrees[0], degrees[33], degrees[32], degrees[11]), (16, 17, 12, 1));
        assert!(club.edges.is_sorted());
    }
}

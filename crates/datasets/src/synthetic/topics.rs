//! A text with topics: something for experts to specialise on.

use super::random::SplitMix64;
use crate::error::{Error, Result};

/// The shape of the text.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicsConfig {
    /// Bytes. Default: 2,000,000.
    pub bytes: usize,
    /// Topics, each with letters that follow each other in its own way. Default: 16.
    pub topics: usize,
    /// Letters. Default: 24.
    pub letters: usize,
    /// Probabilities of the letters that can follow a pair of letters. Default: 0.55, 0.25, 0.15, 0.05.
    pub successors: Vec<f64>,
    /// Words that all topics share. Default: 64.
    pub function_words: usize,
    /// Probability that a word is one of those. Default: 0.3.
    pub function_word_probability: f64,
    /// Seed. Default: 0.
    pub seed: u64,
}

impl Default for TopicsConfig {
    fn default() -> Self {
        Self {
            bytes: 2_000_000,
            topics: 16,
            letters: 24,
            successors: vec![0.55, 0.25, 0.15, 0.05],
            function_words: 64,
            function_word_probability: 0.3,
            seed: 0,
        }
    }
}

const SHORTEST_WORD: usize = 3;
const LONGEST_WORD: usize = 7;
const SHORTEST_SENTENCE: usize = 8;
const LONGEST_SENTENCE: usize = 14;

/// Sentences of 8 to 14 words, each about one topic and opened by the topic's own word. A word has 3 to 7 letters from the topic's Markov chain of order 2, or
/// is a function word. Only lower-case letters, spaces, and a line break after each sentence.
///
/// # Errors
/// [`Error::InvalidConfig`] without topics, for more than 26 letters or fewer than successors, or probabilities that do not add up.
pub fn topics(config: &TopicsConfig) -> Result<Vec<u8>> {
    let TopicsConfig { letters, ref successors, .. } = *config;
    if config.topics == 0 || config.topics > 1000 || config.function_words > 10_000 {
        return Err(Error::invalid_config("topics", "expected 1 to 1000 topics and at most 10000 function words"));
    }
    if letters == 0 || letters > 26 || successors.is_empty() || successors.len() > letters {
        return Err(Error::invalid_config("letters", "expected 1 to 26, and at least as many as successors"));
    }
    let total: f64 = successors.iter().sum();
    if successors.iter().any(|&p| p.is_nan() || p < 0.) || (total - 1.).abs() > 1e-9 {
        return Err(Error::invalid_config("successors", "expected probabilities that add up to 1"));
    }
    if !(0. ..=1.).contains(&config.function_word_probability) {
        return Err(Error::invalid_config("function_word_probability", "expected a probability"));
    }
    let mut random = SplitMix64::new(config.seed);
    // followers[topic][first][second]: the letters that can come next
    let chains: Vec<Vec<Vec<u8>>> = (0..config.topics)
        .map(|_| (0..letters * letters).map(|_| distinct(&mut random, letters, successors.len())).collect())
        .collect();
    let spread = (config.topics as f64).sqrt();
    let function_words: Vec<Vec<u8>> = (0..config.function_words)
        .map(|_| {
            let length = between(&mut random, 2, 4);
            (0..length).map(|_| below(&mut random, letters) as u8).collect()
        })
        .collect();
    let topic_words: Vec<Vec<u8>> = chains
        .iter()
        .map(|chain| {
            let length = LONGEST_WORD.min(SHORTEST_WORD + spread as usize);
            word(&mut random, chain, letters, successors, length)
        })
        .collect();
    let mut text = Vec::with_capacity(config.bytes + 128);
    while text.len() < config.bytes {
        let topic = below(&mut random, config.topics);
        text.extend_from_slice(&topic_words[topic]);
        for _ in 1..between(&mut random, SHORTEST_SENTENCE, LONGEST_SENTENCE) {
            if !function_words.is_empty() && random.next_f64() < config.function_word_probability {
                let at = below(&mut random, function_words.len());
                text.extend([SPACE].iter().chain(&function_words[at]));
            } else {
                let length = between(&mut random, SHORTEST_WORD, LONGEST_WORD);
                let word = word(&mut random, &chains[topic], letters, successors, length);
                text.extend([SPACE].iter().chain(&word));
            }
        }
        text.push(BREAK);
    }
    text.truncate(config.bytes);
    for symbol in &mut text {
        *symbol = match *symbol {
            SPACE => b' ',
            BREAK => b'\n',
            letter => b'a' + letter,
        };
    }
    Ok(text)
}

const SPACE: u8 = 254;
const BREAK: u8 = 255;

fn below(random: &mut SplitMix64, bound: usize) -> usize {
    random.below(bound as u64) as usize
}

fn between(random: &mut SplitMix64, low: usize, high: usize) -> usize {
    low + below(random, high - low + 1)
}

fn distinct(random: &mut SplitMix64, letters: usize, count: usize) -> Vec<u8> {
    let mut all: Vec<u8> = (0..letters as u8).collect();
    for at in 0..count {
        all.swap(at, between(random, at, letters - 1));
    }
    all.truncate(count);
    all
}

fn word(random: &mut SplitMix64, chain: &[Vec<u8>], letters: usize, successors: &[f64], length: usize) -> Vec<u8> {
    let mut word = vec![below(random, letters) as u8, below(random, letters) as u8];
    while word.len() < length {
        let [.., first, second] = word[..] else { break };
        let mut left = random.next_f64();
        let mut pick = 0;
        while pick + 1 < successors.len() && left >= successors[pick] {
            left -= successors[pick];
            pick += 1;
        }
        word.push(chain[first as usize * letters + second as usize][pick]);
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_seeded_and_made_of_sentences() {
        let config = TopicsConfig { bytes: 20_000, ..TopicsConfig::default() };
        let text = topics(&config).unwrap();
        assert_eq!((text.len(), &text), (20_000, &topics(&config).unwrap()));
        assert_ne!(text, topics(&TopicsConfig { seed: 1, ..config.clone() }).unwrap());
        assert!(text.iter().all(|&byte| byte == b' ' || byte == b'\n' || byte.is_ascii_lowercase()));
        let text = String::from_utf8(text).unwrap();
        let sentences: Vec<&str> = text.split('\n').collect();
        for sentence in &sentences[..sentences.len() - 1] {
            assert!((8..=14).contains(&sentence.split(' ').count()), "{sentence}");
        }
        let openings: std::collections::BTreeSet<&str> =
            sentences[..sentences.len() - 1].iter().filter_map(|sentence| sentence.split(' ').next()).collect();
        assert!(openings.len() <= 16 && openings.len() > 10);
    }

    #[test]
    fn senseless_options_are_errors() {
        let good = TopicsConfig { bytes: 100, ..TopicsConfig::default() };
        for bad in [
            TopicsConfig { topics: 0, ..good.clone() },
            TopicsConfig { letters: 27, ..good.clone() },
            TopicsConfig { letters: 3, ..good.clone() },
            TopicsConfig { successors: vec![0.5, 0.4], ..good.clone() },
            TopicsConfig { successors: vec![], ..good.clone() },
            TopicsConfig { successors: vec![f64::NAN, 1.], ..good.clone() },
            TopicsConfig { function_word_probability: 1.5, ..good.clone() },
        ] {
            assert!(topics(&bad).is_err());
        }
        assert!(topics(&TopicsConfig { bytes: 0, ..good }).unwrap().is_empty());
    }
}

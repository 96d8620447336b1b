//! Which byte strings are tokens of `cl100k_base`: an approximate set.
//!
//! The vocabulary itself would take megabytes. This keeps an 8-bit fingerprint of each token in an xor
//! filter (Graf and Lemire, 2019) and, for each bucket of first two bytes, the lengths that tokens
//! beginning so have. A token is always found; another string is taken for one about once in 256 looks.
//! `vocabulary.bin` is built by the test below, which fails when the file is not what it would build.

/// The longest run of one character that is a token.
pub const LONGEST_RUN: usize = 80;

/// The longest token that the set holds, in bytes. Under one in a hundred is longer.
const LONGEST: usize = 16;

const BUCKETS: usize = 4096;
const SEGMENT: u32 = 40_300;
const SIZE: usize = BUCKETS * 2 + SEGMENT as usize * 3;

/// Of each bucket the lengths (two bytes, bit `n - 1` for length `n`), then three segments of fingerprints.
static TABLE: &[u8; SIZE] = include_bytes!("vocabulary.bin");

/// Takes tokens off the front of the piece of `len` bytes that `text` begins with, up to the first that
/// begins in its last `spare` bytes. Gives how many there are, and where that one begins.
#[inline]
pub fn take(text: &[u8], len: usize, spare: usize) -> (u64, usize) {
    let (mut tokens, mut at) = (0, 0);
    while at + spare < len {
        let rest = text.get(at..).unwrap_or_default();
        let window = rest.first_chunk().map_or_else(|| Window::padded(rest), Window::new);
        at += if window.is_run() && len - at >= LONGEST {
            run(rest, len - at)
        } else {
            window.longest(len - at)
        };
        tokens += 1;
    }
    (tokens, at)
}

/// The length of the token that a long run of one character begins with. There are such tokens of many
/// lengths, most of them for spaces; other marks are taken in fewer at a time.
#[cold]
fn run(text: &[u8], limit: usize) -> usize {
    let first = text.first().copied().unwrap_or_default();
    let longest = match first {
        b' ' => LONGEST_RUN,
        b'!'..=b'/' | b':'..=b'@' | b'['..=b'`' | b'{'..=b'~' => 64,
        _ => LONGEST,
    };
    text.iter().take(limit.min(longest)).take_while(|byte| **byte == first).count()
}

/// The first sixteen bytes of what is looked up; what lies beyond the text may be anything.
#[derive(Clone, Copy)]
struct Window {
    low: u64,
    high: u64,
}

impl Window {
    /// The window over these bytes.
    #[inline]
    fn new(bytes: &[u8; LONGEST]) -> Self {
        let half =
            |at: usize| bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default();
        Self { low: u64::from_le_bytes(half(0)), high: u64::from_le_bytes(half(8)) }
    }

    /// The window over bytes that are too few.
    fn padded(bytes: &[u8]) -> Self {
        let mut all = [0; LONGEST];
        all.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        Self::new(&all)
    }

    /// Whether it shows one byte, sixteen times.
    #[inline]
    fn is_run(self) -> bool {
        self.low == self.high && self.low == self.low.rotate_left(8)
    }

    /// The length of the longest token at its start, of at most `limit` bytes; a single byte always is one.
    #[inline]
    fn longest(self, limit: usize) -> usize {
        let mut lengths = self.lengths() & (u16::MAX >> LONGEST.saturating_sub(limit));
        while lengths != 0 {
            let bit = lengths.ilog2();
            if contains(self.key(bit + 1)) {
                return bit as usize + 1;
            }
            lengths ^= 1 << bit;
        }
        1
    }

    /// The lengths of the tokens that share the first two bytes.
    #[inline]
    fn lengths(self) -> u16 {
        let at = self.bucket() * 2;
        match TABLE.get(at..at + 2) {
            Some(&[low, high]) => u16::from_le_bytes([low, high]),
            _ => 0,
        }
    }

    #[inline]
    fn bucket(self) -> usize {
        let pair = (self.low & 0xffff).wrapping_mul(0x9E37_79B1);
        usize::try_from(pair >> 13).unwrap_or(0) % BUCKETS
    }

    /// The hash of the first `length` bytes.
    #[inline]
    fn key(self, length: u32) -> u64 {
        let low = self.low & u64::MAX.checked_shr(64 - 8 * length.min(8)).unwrap_or(0);
        let high = self.high & u64::MAX.checked_shr(64 - 8 * length.saturating_sub(8)).unwrap_or(0);
        let mixed = (low ^ high.wrapping_mul(0xC2B2_AE3D_27D4_EB4F).rotate_left(29))
            .wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed ^ (mixed >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93)
    }
}

#[inline]
fn contains(key: u64) -> bool {
    let [a, b, c] = slots(key).map(|slot| TABLE.get(BUCKETS * 2 + slot).copied().unwrap_or(0));
    a ^ b ^ c == fingerprint(key)
}

/// One slot in each segment.
#[inline]
fn slots(key: u64) -> [usize; 3] {
    [0, 1, 2].map(|n| {
        let part = key.rotate_left(21 * n) >> 32;
        let segment = u64::from(SEGMENT);
        usize::try_from(u64::from(n) * segment + ((part * segment) >> 32)).unwrap_or(0)
    })
}

#[inline]
fn fingerprint(key: u64) -> u8 {
    ((key ^ (key >> 29)) & 0xff) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(token: &[u8]) -> Window {
        let mut bytes = [0xff; LONGEST];
        bytes[..token.len()].copy_from_slice(token);
        Window::new(&bytes)
    }

    /// The tokens that the set holds: not the single bytes, nor numbers, whose pieces never miss.
    fn tokens() -> Vec<Vec<u8>> {
        let bpe = tiktoken_rs::cl100k_base_singleton();
        (0..100_256)
            .filter_map(|rank| bpe.decode_bytes(&[rank]).ok())
            .filter(|token| (2..=LONGEST).contains(&token.len()))
            .filter(|token| !token.iter().all(u8::is_ascii_digit))
            .collect()
    }

    /// Peels the keys off: again and again takes a key that is alone in a slot, until none is left. Filled in
    /// the opposite order, each key then has a slot of its own to settle its fingerprint in.
    fn fingerprints(keys: &[u64]) -> Vec<u8> {
        let size = usize::try_from(SEGMENT).unwrap() * 3;
        let mut sums = vec![(0u64, 0u32); size];
        for &key in keys {
            for slot in slots(key) {
                sums[slot] = (sums[slot].0 ^ key, sums[slot].1 + 1);
            }
        }
        let mut alone: Vec<usize> = (0..size).filter(|&slot| sums[slot].1 == 1).collect();
        let mut peeled = Vec::new();
        while let Some(slot) = alone.pop() {
            if sums[slot].1 != 1 {
                continue;
            }
            let key = sums[slot].0;
            peeled.push((key, slot));
            for other in slots(key) {
                sums[other] = (sums[other].0 ^ key, sums[other].1 - 1);
                if sums[other].1 == 1 {
                    alone.push(other);
                }
            }
        }
        assert_eq!(peeled.len(), keys.len(), "the keys do not peel: change a constant of the hash");
        let mut table = vec![0; size];
        for (key, slot) in peeled.into_iter().rev() {
            let [a, b, c] = slots(key);
            table[slot] ^= table[a] ^ table[b] ^ table[c] ^ fingerprint(key);
        }
        table
    }

    #[test]
    fn the_table_is_what_the_vocabulary_gives() {
        let tokens = tokens();
        let mut lengths = vec![0u16; BUCKETS];
        let mut keys = Vec::new();
        for token in &tokens {
            let window = window(token);
            lengths[window.bucket()] |= 1 << (token.len() - 1);
            keys.push(window.key(u32::try_from(token.len()).unwrap()));
        }
        let mut table: Vec<u8> = lengths.iter().flat_map(|bits| bits.to_le_bytes()).collect();
        table.extend(fingerprints(&keys));
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/meter/estimate/vocabulary.bin"), &table)
                .unwrap();
        } else {
            assert!(table == TABLE, "vocabulary.bin is out of date: BLESS=1 writes it");
        }
    }

    #[test]
    fn strings_that_are_no_tokens_are_seldom_taken_for_one() {
        let tokens: std::collections::HashSet<Vec<u8>> = tokens().into_iter().collect();
        let (mut looks, mut wrong) = (0u32, 0u32);
        for token in &tokens {
            let reversed: Vec<u8> = token.iter().rev().copied().collect();
            if !tokens.contains(&reversed) {
                looks += 1;
                wrong += u32::from(contains(window(&reversed).key(u32::try_from(token.len()).unwrap())));
            }
        }
        assert!(looks > 50_000 && wrong * 200 < looks, "{wrong} of {looks}");
    }
}

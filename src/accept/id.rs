//! Request ids: 32 hexadecimal digits, as Kong writes them.

use std::cell::Cell;
use std::fmt;

/// The id of one exchange, in every header, log record and error that concerns it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId([u8; 32]);

thread_local! {
    // Seeded once a thread from the system's randomness; ids need to be unique, not secret.
    static STATE: Cell<u128> = Cell::new(uuid::Uuid::new_v4().as_u128() | 1);
}

impl RequestId {
    /// A new id.
    pub fn random() -> Self {
        let bits = STATE.with(|state| {
            let next = state.get().wrapping_mul(0xda94_2042_e4dd_58b5_5851_f42d_4c95_7f2d).wrapping_add(1);
            state.set(next);
            next ^ (next >> 64)
        });
        let mut digits = [0; 32];
        for (index, digit) in digits.iter_mut().enumerate() {
            let nibble = (bits >> (124 - 4 * index)) & 0xf;
            *digit = char::from_digit(u32::try_from(nibble).unwrap_or(0), 16).map_or(b'0', |c| c as u8);
        }
        Self(digits)
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_are_32_hex_digits_and_do_not_repeat() {
        let mut seen = HashSet::new();
        for _ in 0..100_000 {
            let id = RequestId::random();
            assert!(id.as_str().len() == 32 && id.as_str().bytes().all(|b| b.is_ascii_hexdigit()));
            assert!(seen.insert(id));
        }
    }
}

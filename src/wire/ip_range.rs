//! Ranges of addresses, as configurations name them: `10.0.0.0/8`, `2001:db8::1`.

use std::net::IpAddr;

/// The addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    v6: bool,
    first: u128,
    /// How many bits from the right may differ.
    free: u32,
}

impl Range {
    /// An address, or a range as `address/bits`.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) if bits.bytes().all(|byte| byte.is_ascii_digit()) => {
                (address, Some(bits.parse::<u32>().ok()?))
            }
            Some(_) => return None,
            None => (text, None),
        };
        let (v6, first) = number(address.parse().ok()?);
        let width = if v6 { 128 } else { 32 };
        let free = width - bits.unwrap_or(width).min(width);
        (bits.unwrap_or(0) <= width).then_some(Self { v6, first, free })
    }

    /// Whether an address is one of them.
    pub fn holds(&self, address: IpAddr) -> bool {
        let (v6, value) = number(address.to_canonical());
        // Shifting by all bits is no shift to the machine.
        v6 == self.v6 && (value ^ self.first).checked_shr(self.free).unwrap_or(0) == 0
    }
}

fn number(address: IpAddr) -> (bool, u128) {
    match address {
        IpAddr::V4(address) => (false, u128::from(address.to_bits())),
        IpAddr::V6(address) => (true, address.to_bits()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_what_begins_with_their_bits() {
        for (range, inside, outside) in [
            ("10.0.0.0/8", "10.255.1.2", "11.0.0.0"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.4"),
            ("10.1.2.9/30", "10.1.2.11", "10.1.2.12"),
            ("0.0.0.0/0", "203.0.113.9", "2001:db8::1"),
            ("::/0", "2001:db8::1", "203.0.113.9"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::1"),
            ("127.0.0.0/8", "::ffff:127.0.0.1", "::1"),
        ] {
            let held = |text: &str| Range::parse(range).unwrap().holds(text.parse().unwrap());
            assert_eq!((held(inside), held(outside)), (true, false), "{range}");
        }
    }
}

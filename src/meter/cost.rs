//! Money without rounding: prices are integers of a billionth per million tokens.

/// An amount, in units of 10⁻¹⁵ of the price's currency: a billionth per million is 10⁻¹⁵ per one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(u128);

impl Amount {
    /// The amount as a number, for metrics and logs only.
    #[allow(clippy::cast_precision_loss)] // the edge to Prometheus, whose counters are doubles
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / 1e15
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

/// What a target's tokens cost: `input_cost` and `output_cost` of its options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    input: u64,
    output: u64,
}

impl Price {
    /// `None` unless both are configured: half a price would make half the tokens free.
    pub fn new(input_cost: Option<f64>, output_cost: Option<f64>) -> Option<Self> {
        Some(Self { input: nano(input_cost?), output: nano(output_cost?) })
    }

    /// What that many tokens cost.
    pub fn of(self, prompt: u64, completion: u64) -> Amount {
        Amount(u128::from(prompt) * u128::from(self.input) + u128::from(completion) * u128::from(self.output))
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // the schema allows only positive prices
fn nano(price: f64) -> u64 {
    (price * 1e9).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_example() {
        let price = Price::new(Some(10.0), Some(10.0)).unwrap();
        assert!((price.of(25, 12).as_f64() - 0.00037).abs() < 1e-18);
    }

    #[test]
    fn a_million_exchanges_add_up_exactly() {
        let price = Price::new(Some(0.15), Some(0.6)).unwrap();
        let once = price.of(3, 7);
        assert_eq!(once.0 * 1_000_000, price.of(3_000_000, 7_000_000).0);
    }

    #[test]
    fn half_a_price_is_none() {
        assert_eq!(Price::new(Some(1.0), None), None);
    }
}

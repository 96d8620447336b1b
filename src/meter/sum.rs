//! A counter of money. Its total is an integer; the double that Prometheus sees follows it, so that
//! no rounding adds up, however many exchanges there are.

use super::cost::Amount;
use once_cell::sync::Lazy;
use prometheus::{Counter, CounterVec};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// One series of a counter vector.
#[derive(Clone)]
pub struct Sum {
    counter: Counter,
    total: Total,
}

type Total = Arc<Mutex<Amount>>;

/// A series outlives its targets: what a reload loads anew goes on where the old one was.
static TOTALS: Lazy<Mutex<HashMap<Vec<String>, Total>>> = Lazy::new(Mutex::default);

impl Sum {
    /// The series of `name` with those labels.
    pub fn of(name: &str, vec: &CounterVec, labels: &[&str]) -> Self {
        let key = std::iter::once(&name).chain(labels).map(|&part| part.to_owned()).collect();
        let mut totals = TOTALS.lock().unwrap_or_else(PoisonError::into_inner);
        let total = totals.entry(key).or_default().clone();
        Self { counter: vec.with_label_values(labels), total }
    }

    /// Adds an amount.
    pub fn add(&self, amount: Amount) {
        let mut total = self.total.lock().unwrap_or_else(PoisonError::into_inner);
        *total = total.plus(amount);
        // Not the amount but what is missing: so the double is off by its last digit at most.
        let missing = total.as_f64() - self.counter.get();
        if missing > 0.0 {
            self.counter.inc_by(missing);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::cost::Price;
    use prometheus::Opts;

    #[test]
    fn a_million_small_amounts_are_one_large_one() {
        let vec = CounterVec::new(Opts::new("sum_test", "x"), &["model"]).unwrap();
        let price = Price::new(Some(0.15), Some(0.6)).unwrap();
        for _ in 0..100 {
            // Two holders of one series, as before and after a reload.
            let (one, two) = (Sum::of("sum_test", &vec, &["m"]), Sum::of("sum_test", &vec, &["m"]));
            for _ in 0..5_000 {
                one.add(price.of(3, 7));
                two.add(price.of(3, 7));
            }
        }
        let (sum, exact) = (vec.with_label_values(&["m"]).get(), price.of(3_000_000, 7_000_000).as_f64());
        assert!(sum.to_bits().abs_diff(exact.to_bits()) <= 1, "{sum} is not {exact}");
    }
}

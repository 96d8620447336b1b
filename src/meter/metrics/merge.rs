//! Adds the counters of earlier processes to those of this one, so that a scraper sees one sum over all.
//!
//! It works on the exposition text: that is the one form on which two versions of the gateway agree.
//! Sums never fall: each part of them only grows, and adding doubles keeps an order.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;

/// A gauge that counts what all living processes hold.
const SHARED: &[&str] = &["tollgate_exchanges_in_flight", "tollgate_connections"];
/// What is declared a gauge, but counts since the start.
const COUNTING: &[&str] = &["tollgate_log_records_dropped"];
/// What tells of one process and adds up to nothing.
const SINGLE: &[&str] = &["kong_node_info"];

/// All series of one name: its comments, and its samples in their order.
#[derive(Default)]
struct Family<'a> {
    name: &'a str,
    comments: Vec<&'a str>,
    gauge: bool,
    samples: Vec<(&'a str, &'a str)>,
}

/// Both together: sums for counters and histograms, and for gauges what this process says.
pub fn merge(own: &str, before: &str) -> String {
    if before.is_empty() {
        return own.to_owned();
    }
    let (own, before) = (families(own), families(before));
    let mut out = String::with_capacity(64 * 1024);
    let mut earlier: HashMap<&str, &Family<'_>> =
        before.iter().filter(|family| family.adds_up()).map(|family| (family.name, family)).collect();
    for family in &own {
        family.write(earlier.remove(family.name), &mut out);
    }
    // What only the earlier process counted, in its order.
    for family in before.iter().filter(|family| earlier.contains_key(family.name)) {
        family.write(None, &mut out);
    }
    out
}

/// What stays of a process that has ended: what it counted, not what it held.
pub fn lasting(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for family in families(text).iter().filter(|family| family.adds_up() && !SHARED.contains(&family.name)) {
        family.write(None, &mut out);
    }
    out
}

fn families(text: &str) -> Vec<Family<'_>> {
    let mut all: Vec<Family<'_>> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let Some(comment) = line.strip_prefix("# ") else {
            if let (Some(family), Some(sample)) = (all.last_mut(), line.rsplit_once(' ')) {
                family.samples.push(sample);
            }
            continue;
        };
        let mut words = comment.split(' ');
        let (keyword, name) = (words.next(), words.next().unwrap_or_default());
        if all.last().is_none_or(|family| family.name != name) {
            all.push(Family { name, ..Family::default() });
        }
        if let Some(family) = all.last_mut() {
            family.gauge |= keyword == Some("TYPE") && words.next() == Some("gauge");
            family.comments.push(line);
        }
    }
    all
}

impl Family<'_> {
    fn adds_up(&self) -> bool {
        let counts = !self.gauge || SHARED.contains(&self.name) || COUNTING.contains(&self.name);
        counts && !SINGLE.contains(&self.name)
    }

    fn write(&self, earlier: Option<&Family<'_>>, out: &mut String) {
        for comment in &self.comments {
            out.push_str(comment);
            out.push('\n');
        }
        let more: HashMap<&str, &str> =
            earlier.map(|family| family.samples.iter().copied().collect()).unwrap_or_default();
        for (series, value) in &self.samples {
            let sum = more.get(series).and_then(|more| add(value, more));
            let _ = match sum {
                Some(sum) => writeln!(out, "{series} {sum}"),
                None => writeln!(out, "{series} {value}"),
            };
        }
        let own: HashSet<&str> = self.samples.iter().map(|(series, _)| *series).collect();
        for (series, value) in earlier.into_iter().flat_map(|family| &family.samples) {
            if !own.contains(series) {
                let _ = writeln!(out, "{series} {value}");
            }
        }
    }
}

fn add(one: &str, other: &str) -> Option<f64> {
    Some(one.parse::<f64>().ok()? + other.parse::<f64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "\
# HELP a_total Sums
# TYPE a_total counter
a_total{x=\"1\"} 5
a_total{x=\"has space 7\"} 2
# HELP h Times
# TYPE h histogram
h_bucket{le=\"1\"} 1
h_bucket{le=\"+Inf\"} 2
h_sum 0.30000000000000004
h_count 2
# HELP kong_datastore_reachable x
# TYPE kong_datastore_reachable gauge
kong_datastore_reachable 1
# HELP kong_node_info x
# TYPE kong_node_info counter
kong_node_info{node_id=\"new\"} 1
# HELP tollgate_exchanges_in_flight x
# TYPE tollgate_exchanges_in_flight gauge
tollgate_exchanges_in_flight 3
";
    const BEFORE: &str = "\
# HELP a_total Sums
# TYPE a_total counter
a_total{x=\"has space 7\"} 40
a_total{x=\"gone\"} 9007199254740991
# HELP b_total Of the old version only
# TYPE b_total counter
b_total 8
# HELP h Times
# TYPE h histogram
h_bucket{le=\"1\"} 10
h_bucket{le=\"+Inf\"} 20
h_sum 1
h_count 20
# HELP kong_datastore_reachable x
# TYPE kong_datastore_reachable gauge
kong_datastore_reachable 1
# HELP kong_node_info x
# TYPE kong_node_info counter
kong_node_info{node_id=\"old\"} 1
# HELP tollgate_exchanges_in_flight x
# TYPE tollgate_exchanges_in_flight gauge
tollgate_exchanges_in_flight 4
# HELP tollgate_log_records_dropped x
# TYPE tollgate_log_records_dropped gauge
tollgate_log_records_dropped 6
";

    #[test]
    fn counts_add_up_and_gauges_stay() {
        let both = merge(OWN, BEFORE);
        for line in [
            "a_total{x=\"1\"} 5",
            "a_total{x=\"has space 7\"} 42",
            "a_total{x=\"gone\"} 9007199254740991",
            "b_total 8",
            "h_bucket{le=\"1\"} 11",
            "h_bucket{le=\"+Inf\"} 22",
            "h_sum 1.3",
            "h_count 22",
            "kong_datastore_reachable 1",
            "tollgate_exchanges_in_flight 7",
            "tollgate_log_records_dropped 6",
        ] {
            assert!(both.lines().any(|own| own == line), "{line} is not in\n{both}");
        }
        assert!(!both.contains("node_id=\"old\""), "{both}");
        for name in ["a_total", "h", "b_total"] {
            assert_eq!(both.matches(&format!("# TYPE {name} ")).count(), 1, "one group a name:\n{both}");
        }
    }

    #[test]
    fn what_an_ended_process_held_is_let_go() {
        let rest = lasting(BEFORE);
        assert!(rest.contains("b_total 8") && rest.contains("tollgate_log_records_dropped 6"), "{rest}");
        assert!(!rest.contains("in_flight") && !rest.contains("datastore") && !rest.contains("node_info"));
        assert_eq!(lasting(&rest), rest);
        let both = merge(OWN, &rest);
        assert!(both.contains("tollgate_exchanges_in_flight 3"), "{both}");
    }

    #[test]
    fn without_a_process_before_it_is_the_text_itself() {
        assert_eq!(merge(OWN, ""), OWN);
    }
}

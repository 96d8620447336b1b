#!/bin/sh
# Stands before rustc: only what is under test, and the parsers it is made of, is compiled with coverage
# counters. Every counter costs a little on each run, and most of the gateway is never reached from here.
# Comparisons are not traced: that takes half of the time where JSON is read, and the seeds know the words.
case " $* " in
*" --crate-name tollgate "* | *" --crate-name tollgate_fuzz "* | *" --crate-name serde_json "* | \
*" --crate-name unsafe_libyaml "* | *" --crate-name serde_yaml "* | *" --crate-name multer "* | \
*" --crate-name aws_smithy_eventstream "* | *" --crate-name fancy_regex "* | *" --crate-name form_urlencoded "*)
    exec "$@" --cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table ;;
*) exec "$@" ;;
esac

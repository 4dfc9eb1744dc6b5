use proptest::prelude::*;

use super::*;

fn stops(list: &[&str]) -> Vec<String> {
    list.iter().map(|s| s.to_string()).collect()
}

/// Pushes all pieces; returns the text after each one, and the first match.
fn run<'a>(stops: &[String], pieces: impl IntoIterator<Item = &'a str>) -> (Vec<String>, Option<usize>) {
    let mut matcher = StopMatcher::new(stops);
    let mut out = String::new();
    let mut after_each = Vec::new();
    let mut matched = None;
    for piece in pieces {
        if let StopStatus::Matched { which } = matcher.push(piece, &mut out) {
            assert!(matched.is_none_or(|first| first == which));
            matched = Some(which);
        }
        after_each.push(out.clone());
    }
    matcher.finish(&mut out);
    assert!(!matcher.has_pending());
    after_each.push(out);
    (after_each, matched)
}

fn outcome(list: &[&str], pieces: &[&str]) -> (String, Option<usize>) {
    let (mut texts, matched) = run(&stops(list), pieces.iter().copied());
    (texts.pop().unwrap_or_default(), matched)
}

#[test]
fn without_stop_strings_all_text_passes_at_once() {
    let (texts, matched) = run(&[], ["a", "bc"]);
    assert_eq!((texts, matched), (stops(&["a", "abc", "abc"]), None));
}

#[test]
fn a_stop_string_over_token_borders_is_never_shown() {
    let (texts, matched) = run(&stops(&["<|end|>"]), ["hi <", "|e", "nd|", "> more"]);
    assert_eq!(texts, stops(&["hi ", "hi ", "hi ", "hi ", "hi "]));
    assert_eq!(matched, Some(0));
}

#[test]
fn held_text_is_passed_on_as_soon_as_it_cannot_match() {
    let (texts, matched) = run(&stops(&["\n\nUser:"]), ["a\n", "\n", "\n", "x"]);
    assert_eq!(texts, stops(&["a", "a", "a\n", "a\n\n\nx", "a\n\n\nx"]));
    assert_eq!(matched, None);
}

#[test]
fn the_first_to_complete_wins() {
    assert_eq!(outcome(&["abcd", "bc"], &["ab", "cd"]), ("a".into(), Some(1)));
    assert_eq!(outcome(&["b", "ab"], &["xab"]), ("x".into(), Some(1)));
    assert_eq!(outcome(&["ab", "abc"], &["abc"]), ("".into(), Some(0)));
    assert_eq!(outcome(&["x", "x"], &["x"]), ("".into(), Some(0)));
}

#[test]
fn the_end_of_the_stream_releases_a_partial_match() {
    assert_eq!(outcome(&["STOP"], &["go ST", "O"]), ("go STO".into(), None));
}

#[test]
fn an_empty_stop_string_never_matches_and_keeps_the_numbering() {
    assert_eq!(outcome(&["", "b"], &["ab"]), ("a".into(), Some(1)));
}

#[test]
fn text_after_a_match_is_ignored() {
    let mut matcher = StopMatcher::new(&stops(&["."]));
    let mut out = String::new();
    assert_eq!(matcher.push("a.b", &mut out), StopStatus::Matched { which: 0 });
    assert_eq!(matcher.push("c", &mut out), StopStatus::Matched { which: 0 });
    matcher.finish(&mut out);
    assert_eq!(out, "a");
}

#[test]
fn a_periodic_stop_string_holds_back_a_bounded_end() {
    let stop = format!("{}b", "a".repeat(50));
    let mut matcher = StopMatcher::new(&[stop]);
    let mut out = String::new();
    for n in 1..=1000usize {
        assert_eq!(matcher.push("a", &mut out), StopStatus::Continue);
        assert_eq!(out.len(), n.saturating_sub(50));
    }
}

/// The specification, over the whole text: which match, and where it starts.
fn naive_match(stops: &[String], text: &str) -> Option<(usize, usize)> {
    (0..=text.len()).filter(|&end| text.is_char_boundary(end)).find_map(|end| {
        let longest_first = |&(which, stop): &(usize, &String)| (std::cmp::Reverse(stop.len()), which);
        stops
            .iter()
            .enumerate()
            .filter(|(_, stop)| !stop.is_empty() && text[..end].ends_with(stop.as_str()))
            .min_by_key(longest_first)
            .map(|(which, stop)| (which, end - stop.len()))
    })
}

/// The specification of what may be shown of a text without a match.
fn naive_safe<'a>(stops: &[String], text: &'a str) -> &'a str {
    let could_start_a_stop =
        |&start: &usize| text.is_char_boundary(start) && stops.iter().any(|s| s.starts_with(&text[start..]));
    let safe = (0..text.len()).find(could_start_a_stop).unwrap_or(text.len());
    &text[..safe]
}

proptest! {
    #![proptest_config(super::super::seeded())]

    #[test]
    fn any_split_equals_the_naive_search_and_holds_back_no_more_than_needed(
        stops in prop::collection::vec("[abé日]{1,5}", 0..4),
        pieces in prop::collection::vec("[abé日]{0,4}", 0..14),
    ) {
        let (shown, matched) = run(&stops, pieces.iter().map(String::as_str));
        let whole = pieces.concat();
        let expected = naive_match(&stops, &whole);
        prop_assert_eq!(matched, expected.map(|(which, _)| which));

        let mut pushed = String::new();
        for (piece, shown) in pieces.iter().zip(&shown) {
            pushed.push_str(piece);
            let may_show = match naive_match(&stops, &pushed) {
                Some((_, start)) => &pushed[..start],
                None => naive_safe(&stops, &pushed),
            };
            prop_assert_eq!(shown, may_show);
        }
        let end = expected.map_or(whole.len(), |(_, start)| start);
        prop_assert_eq!(shown.last().map(String::as_str), Some(&whole[..end]));
    }
}

//! Sequences with drafts: what they write is what they would write without, only sooner.

use llama_concurrent_types::{FinishReason, Priority, SamplingParams, Speculation, Token};

use super::rig::{END, Rig, Setup, alone_repeating, prompt};
use crate::backend::{Call, CallKind};

const REPEATS: Option<usize> = Some(2);

fn rig(speculation: Speculation) -> Rig {
    Rig::new(Setup { n_ctx: 512, speculation: Some(speculation), repeats: REPEATS, ..Setup::default() })
}

fn decodes(rig: &Rig) -> impl Iterator<Item = &Call> {
    rig.calls.iter().map(|(call, _)| call).filter(|call| call.kind == CallKind::Decode)
}

fn drafted_rows(call: &Call) -> usize {
    let first_of_each = call.rows.chunk_by(|a, b| a.seq == b.seq).count();
    call.rows.iter().filter(|row| row.sample.is_some()).count() - first_of_each
}

#[test]
fn what_repeats_is_written_in_fewer_calls() {
    let mut seconds = Vec::new();
    for speculation in [Speculation::Off, Speculation::Auto, Speculation::Lookup] {
        let mut rig = rig(speculation);
        rig.submit(0, prompt(0, 20), 300);
        rig.run_until_idle();
        assert_eq!(rig.heard[&0].tokens, alone_repeating(&prompt(0, 20), 300, REPEATS));
        let timings = rig.timings(0);
        let totals = rig.scheduler.totals();
        assert_eq!(totals.drafted_tokens, timings.n_drafted_tokens as u64);
        assert_eq!(totals.accepted_tokens, timings.n_accepted_tokens as u64);
        let n_calls = decodes(&rig).count();
        assert_eq!(totals.decode.calls, n_calls as u64);
        assert_eq!(totals.decode.rows, 299, "a row for each token but the first");
        assert_eq!(n_calls + timings.n_accepted_tokens, 299);
        if speculation == Speculation::Off {
            assert_eq!((timings.n_drafted_tokens, n_calls), (0, 299));
        } else {
            assert!(n_calls < 200, "{n_calls} calls, {} of {}", timings.n_accepted_tokens, timings.n_drafted_tokens);
        }
        seconds.push(rig.now.as_secs_f64());
    }
    assert!(seconds[1] < 0.8 * seconds[0], "{seconds:?}");
}

#[test]
fn a_request_may_want_none() {
    let mut rig = rig(Speculation::Lookup);
    let params = SamplingParams::default().max_tokens(50).ignore_eos(true).speculation(Speculation::Off);
    rig.submit_with(0, prompt(0, 20), Priority::Interactive, params);
    rig.run_until_idle();
    assert!(decodes(&rig).all(|call| call.rows.len() == 1));
    let mut rig = self::rig(Speculation::Off);
    let params = SamplingParams::default().max_tokens(100).ignore_eos(true).speculation(Speculation::Lookup);
    rig.submit_with(0, prompt(0, 20), Priority::Interactive, params.draft_max(3u32));
    rig.run_until_idle();
    assert_eq!(decodes(&rig).map(|call| call.rows.len()).max(), Some(4));
}

#[test]
fn what_never_repeats_costs_nothing() {
    let spent = |speculation| {
        let mut rig = Rig::new(Setup { n_ctx: 2048, speculation: Some(speculation), ..Setup::default() });
        rig.backend.forces = false;
        rig.submit(0, prompt(0, 20), 2000);
        rig.run_until_idle();
        rig.now.as_secs_f64()
    };
    let (off, auto) = (spent(Speculation::Off), spent(Speculation::Auto));
    assert!(auto < 1.01 * off, "{auto} instead of {off} s");
}

#[test]
fn a_full_house_drafts_nothing() {
    let mut rig =
        Rig::new(Setup { slots: 16, speculation: Some(Speculation::Lookup), repeats: REPEATS, ..Setup::default() });
    (0..16).for_each(|id| rig.submit(id, prompt(id as usize, 8), 100));
    rig.run_until_idle();
    let full = decodes(&rig).filter(|call| call.rows.chunk_by(|a, b| a.seq == b.seq).count() > 8);
    assert!(full.map(drafted_rows).all(|n| n == 0));
    assert!(decodes(&rig).all(|call| call.rows.len() <= 16));
    for id in 0..16 {
        assert_eq!(rig.heard[&id].tokens, alone_repeating(&prompt(id as usize, 8), 100, REPEATS));
    }
}

#[test]
fn nothing_is_drafted_while_a_prompt_waits() {
    let mut rig = rig(Speculation::Auto);
    rig.submit(0, prompt(0, 20), 400);
    while decodes(&rig).map(drafted_rows).sum::<usize>() == 0 {
        rig.step();
    }
    let before = rig.calls.len();
    rig.submit(1, prompt(1, 300), 2);
    while rig.heard[&1].tokens.is_empty() {
        rig.step();
    }
    let during: Vec<_> = rig.calls[before..].iter().filter(|(call, _)| call.kind == CallKind::Decode).collect();
    assert!(during.len() > 3 && during.iter().all(|(call, _)| call.rows.len() == 1), "{during:?}");
}

#[test]
fn drafts_end_where_the_request_and_its_slot_end() {
    let mut rig =
        Rig::new(Setup { n_ctx: 64, speculation: Some(Speculation::Lookup), repeats: REPEATS, ..Setup::default() });
    for (id, max_tokens) in [(0, 5), (1, 6), (2, 7), (3, 1000)] {
        rig.submit(id, prompt(0, 20), max_tokens);
    }
    rig.run_until_idle();
    for id in 0..4 {
        let expected = alone_repeating(&prompt(0, 20), 44, REPEATS);
        let n = rig.heard[&id].tokens.len();
        assert_eq!(n, [5, 6, 7, 44][id as usize]);
        assert_eq!(rig.heard[&id].tokens, expected[..n]);
        assert_eq!(rig.reason(id), FinishReason::Length);
    }
}

#[test]
fn an_end_within_a_draft_ends_there() {
    // Texts that end by themselves, and by a stop string, mostly in the middle of a draft.
    let mut cut = 0;
    for seed in 0..200 {
        let mut rig = rig(Speculation::Lookup);
        let text = prompt(seed, 30);
        let free = alone_repeating(&text, 100, REPEATS);
        let letters: String = free.iter().map(|&token| (b'a' + (token % 26) as u8) as char).collect();
        let stop = letters[40..43].to_owned();
        let params = SamplingParams::default().max_tokens(100).stop(vec![stop.clone()]);
        rig.submit_with(0, text.clone(), Priority::Interactive, params);
        rig.run_until_idle();
        let end = free.iter().position(|token| END.contains(token)).unwrap_or(free.len());
        let at = free[..end].iter().map(|&token| (b'a' + (token % 26) as u8) as char).collect::<String>().find(&stop);
        let expected = at.map_or(&letters[..end], |at| &letters[..at]);
        assert_eq!(rig.heard[&0].text, expected, "seed {seed}");
        cut += usize::from(rig.timings(0).n_accepted_tokens > 0 && end < 100);
        // What was computed behind the end is gone: the slot serves the next one.
        let next: Vec<Token> = text.iter().chain(&free[..20]).copied().collect();
        rig.submit(1, next.clone(), 30);
        rig.run_until_idle();
        assert_eq!(rig.heard[&1].tokens, alone_repeating(&next, 30, REPEATS));
    }
    assert!(cut > 10, "{cut}");
}

#[test]
fn what_others_wrote_is_a_draft_too() {
    let mut rig = rig(Speculation::Auto);
    rig.submit(0, prompt(3, 24), 60);
    rig.run_until_idle();
    let first = rig.timings(0).n_accepted_tokens;
    rig.submit(1, prompt(3, 24), 60);
    rig.run_until_idle();
    assert_eq!(rig.heard[&0].tokens, rig.heard[&1].tokens);
    let again = rig.timings(1).n_accepted_tokens;
    assert!(again > 40 && again > first, "{again} after {first}");
}

#[test]
fn sequences_of_one_call_have_equally_many_rows() {
    let mut rig = rig(Speculation::Auto);
    (0..3).for_each(|id| rig.submit(id, prompt(id as usize, 12), 150));
    rig.run_until_idle();
    assert!(decodes(&rig).any(|call| drafted_rows(call) > 0 && call.rows.iter().any(|row| row.seq > 0)));
    assert_eq!(rig.backend.split_decodes, 0);
    for id in 0..3 {
        assert_eq!(rig.heard[&id].tokens, alone_repeating(&prompt(id as usize, 12), 150, REPEATS));
    }
    let kept = rig.scheduler.slots().map(|slot| slot.n_tokens).collect::<Vec<_>>();
    assert_eq!(kept.len(), 4);
    assert_eq!(kept[..3], [161; 3], "the KV of all but the last token, and of no draft");
}

#[test]
fn a_draft_model_pays_where_it_is_right() {
    let seconds = |speculation, draft_model| {
        let mut rig = Rig::new(Setup {
            n_ctx: 512,
            slots: 2,
            speculation: Some(speculation),
            draft_model: Some(draft_model),
            ..Setup::default()
        });
        rig.backend.forces = false;
        rig.submit(0, prompt(0, 100), 300);
        rig.run_until_idle();
        assert_eq!(rig.heard[&0].tokens, alone_repeating(&prompt(0, 100), 300, None));
        let timings = rig.timings(0);
        if speculation == Speculation::Draft && draft_model == 8 {
            let wrong = timings.n_drafted_tokens - timings.n_accepted_tokens;
            assert!(wrong == 0, "{wrong} of {} guesses of a model that is always right", timings.n_drafted_tokens);
        }
        rig.now.as_secs_f64()
    };
    let off = seconds(Speculation::Off, 8);
    for quality in 0..=8 {
        let auto = seconds(Speculation::Auto, quality);
        assert!(auto < 1.03 * off, "{quality} of 8 right: {auto} instead of {off} s");
    }
    assert!(seconds(Speculation::Auto, 8) < 0.5 * off);
    assert!(seconds(Speculation::Auto, 6) < 0.85 * off);
    assert!(seconds(Speculation::Draft, 8) < 0.5 * off);
}

#[test]
fn a_draft_model_holds_up_others_no_longer_than_a_prompt_may() {
    let mut rig = Rig::new(Setup {
        n_ctx: 2048,
        max_stall_ms: 400,
        speculation: Some(Speculation::Draft),
        draft_model: Some(8),
        ..Setup::default()
    });
    rig.submit(0, prompt(0, 20), 400);
    rig.submit(1, prompt(1, 1500), 100);
    rig.run_until_idle();
    let longest = rig.draft_calls.iter().map(|call| call.parts.iter().map(|part| part.tokens.len()).sum::<usize>());
    assert!(longest.clone().max() <= Some(240), "{:?}", longest.max());
    for (id, n_prompt) in [(0, 20), (1, 1500)] {
        let n = rig.heard[&id].tokens.len();
        assert_eq!(rig.heard[&id].tokens, alone_repeating(&prompt(id as usize, n_prompt), n, None));
        assert!(rig.timings(id).n_accepted_tokens > 0, "{id}");
    }
}

#[test]
fn a_draft_model_that_fails_is_done_without() {
    let mut rig =
        Rig::new(Setup { speculation: Some(Speculation::Draft), draft_model: Some(8), n_ctx: 512, ..Setup::default() });
    rig.submit(0, prompt(0, 20), 100);
    while rig.draft_calls.is_empty() {
        rig.step();
    }
    rig.backend.draft_model_fails = true;
    rig.run_until_idle();
    assert_eq!(rig.heard[&0].tokens, alone_repeating(&prompt(0, 20), 100, None));
    assert_eq!(rig.draft_calls.len(), 2, "it is not asked again");
}

/// The time in which a request without drafts writes 400 tokens beside one that drafts like this, on so many contexts of so many
/// slots.
fn seconds_beside(contexts: usize, slots: usize, speculation: Speculation) -> f64 {
    let mut rig = Rig::new(Setup {
        contexts,
        slots,
        n_ctx: 2048,
        speculation: Some(Speculation::Auto),
        repeats: REPEATS,
        ..Setup::default()
    });
    rig.backend.forces = false;
    let params = |n: u32| SamplingParams::default().max_tokens(n).ignore_eos(true);
    rig.submit_with(0, prompt(0, 20), Priority::Interactive, params(1900).speculation(speculation));
    rig.submit_with(1, prompt(1, 20), Priority::Interactive, params(400).speculation(Speculation::Off));
    while rig.heard[&1].finish.is_none() {
        rig.step();
    }
    rig.timings(1).e2e.as_secs_f64()
}

#[test]
fn nobody_waits_much_longer_for_the_drafts_of_others() {
    for (contexts, slots) in [(1, 2), (2, 1), (2, 2)] {
        let without = seconds_beside(contexts, slots, Speculation::Off);
        for speculation in [Speculation::Auto, Speculation::Lookup] {
            let with = seconds_beside(contexts, slots, speculation);
            assert!(with < without / 0.88, "{contexts} x {slots}, {speculation}: {with} instead of {without} s");
        }
    }
}

//! The scheduler against the simulated backend: thousands of steps in milliseconds, every rule checked after each.

mod drafts;
mod random;
mod rig;

use std::{sync::Arc, time::Duration};

use llama_concurrent_types::{Pooling, Priority, SamplingParams, Token};
use rig::{END, Heard, Rig, Setup, alone, prompt, scored_alone, vocab};

use super::*;
use crate::{
    backend::{CallKind, EmbedCall, scored_rows},
    sim::SimWindow,
};

#[test]
fn sequences_are_fused_and_their_tokens_are_those_of_a_run_alone() {
    let mut rig = Rig::new(Setup::default());
    for id in 0..4 {
        rig.submit(id, prompt(id as usize, 20), 30);
    }
    rig.run_until_idle();
    for id in 0..4 {
        assert_eq!(rig.heard[&id].tokens, alone(&prompt(id as usize, 20), 30));
        assert_eq!(rig.reason(id), FinishReason::Length);
        let timings = rig.timings(id);
        assert_eq!((timings.n_prompt_tokens, timings.n_output_tokens, timings.itl.len()), (20, 30, 29));
    }
    let widest = rig.calls.iter().filter(|(c, _)| c.kind == CallKind::Decode).map(|(c, _)| c.rows.len()).max();
    assert_eq!(widest, Some(4));
}

#[test]
fn round_robin_gives_every_context_one_token_per_turn() {
    let mut rig = Rig::new(Setup { contexts: 3, slots: 1, ..Setup::default() });
    for id in 0..3 {
        rig.submit(id, prompt(id as usize, 4), 10);
    }
    rig.run_until_idle();
    let decodes: Vec<usize> =
        rig.calls.iter().filter(|(c, _)| c.kind == CallKind::Decode).map(|(c, _)| c.context).collect();
    let all_running = decodes.windows(3).filter(|w| w[0] != w[1] && w[1] != w[2] && w[0] != w[2]).count();
    assert!(all_running >= 18, "{decodes:?}");
    assert!(rig.calls.iter().all(|(c, _)| c.kind == CallKind::Prefill || c.rows.len() == 1));
}

#[test]
fn a_long_prompt_stalls_the_others_no_longer_than_allowed() {
    let gap_with = |max_stall_ms| {
        let mut rig = Rig::new(Setup { n_ctx: 2048, max_stall_ms, ..Setup::default() });
        for id in 0..3 {
            rig.submit(id, prompt(id as usize, 8), 60);
        }
        while rig.heard[&2].tokens.len() < 10 {
            rig.step();
        }
        rig.submit(9, prompt(9, 1200), 1);
        rig.run_until_idle();
        assert_eq!(rig.heard[&9].tokens, alone(&prompt(9, 1200), 1));
        *rig.timings(0).itl.iter().max().unwrap()
    };
    // A simulated decode of three rows takes 105 ms, 16 prompt rows take 300 ms.
    assert!(gap_with(500) <= Duration::from_millis(105 + 560), "{:?}", gap_with(500));
    assert!(gap_with(1) <= Duration::from_millis(105 + 300), "the least chunk");
    assert!(gap_with(1_000_000) > Duration::from_secs(5));
}

#[test]
fn prefill_of_a_waiting_prompt_always_advances() {
    let mut rig = Rig::new(Setup { n_ctx: 1024, max_stall_ms: 0, ..Setup::default() });
    rig.submit(0, prompt(0, 4), 900);
    rig.step();
    rig.submit(1, prompt(1, 320), 4);
    let before = rig.calls.len();
    while rig.heard[&1].finish.is_none() {
        rig.step();
    }
    let calls = rig.calls.len() - before;
    assert!(calls <= 2 * (320 / MIN_CHUNK_FOR_TESTS) + 8, "{calls} calls");
}

const MIN_CHUNK_FOR_TESTS: usize = 16;

#[test]
fn an_equal_prefix_is_computed_once() {
    let mut rig = Rig::new(Setup::default());
    let shared = prompt(1, 100);
    let with_tail = |n: usize| [shared.clone(), prompt(50 + n, 10)].concat();
    for id in 0..4 {
        rig.submit(id, with_tail(id as usize), 5);
    }
    rig.run_until_idle();
    let computed: usize =
        rig.calls.iter().filter(|(c, _)| c.kind == CallKind::Prefill).map(|(c, _)| c.rows.len()).sum();
    assert!(computed <= 110 + 3 * 12, "{computed} prompt rows computed");
    for id in 0..4 {
        assert_eq!(rig.heard[&id].tokens, alone(&with_tail(id as usize), 5));
    }
    assert_eq!(rig.timings(0).n_cached_tokens, 0);
    assert!(rig.timings(3).n_cached_tokens >= 100);
}

#[test]
fn the_next_turn_of_a_chat_continues_where_the_last_one_ended() {
    let mut rig = Rig::new(Setup::default());
    rig.submit(0, prompt(3, 60), 20);
    rig.run_until_idle();
    let second = [prompt(3, 60), rig.heard[&0].tokens.clone(), prompt(4, 10)].concat();
    rig.submit(1, second.clone(), 5);
    rig.run_until_idle();
    assert_eq!(
        rig.heard[&1].progress.first().map(|told| (told.n_cached_tokens, told.n_computed_tokens)),
        Some((79, 79))
    );
    assert_eq!(rig.timings(1).n_cached_tokens, 79, "all but the last output token, which was never computed");
    assert_eq!(rig.heard[&1].tokens, alone(&second, 5));
}

/// Sequences come to stand side by side, which moves them to where idle slots hold something.
#[test]
fn with_as_many_chats_as_slots_each_next_turn_finds_its_beginning() {
    const USERS: usize = 8;
    let mut rig = Rig::new(Setup { slots: USERS, n_ctx: 512, ..Setup::default() });
    let mut chats: Vec<Vec<Token>> = (0..USERS).map(|user| prompt(user + 1, 60)).collect();
    for turn in 0..5 {
        let id = |user: usize| (turn * USERS + user) as RequestId;
        let length = |user: usize| 6 + user * 5 % 9;
        for user in (0..USERS).map(|i| (i * 3 + turn) % USERS) {
            rig.submit(id(user), chats[user].clone(), length(user) as u32);
            // The next one comes while some of those before are decoding.
            (0..3).for_each(|_| _ = rig.step());
        }
        rig.run_until_idle();
        for (user, chat) in chats.iter_mut().enumerate() {
            let cached = rig.timings(id(user)).n_cached_tokens;
            assert!(turn == 0 || cached >= chat.len() - 6, "turn {turn} of {user}: {cached} of {}", chat.len());
            assert_eq!(rig.heard[&id(user)].tokens, alone(chat, length(user)));
            chat.extend(&rig.heard[&id(user)].tokens);
            chat.extend(prompt(user + 20, 5));
        }
    }
    assert!(rig.swaps > 0, "nothing was moved, so nothing was tested");
}

#[test]
fn nothing_is_reused_when_reuse_is_off() {
    let mut rig = Rig::new(Setup { prefix_reuse: false, ..Setup::default() });
    for id in 0..6 {
        rig.submit(id, prompt(1, 50), 5);
    }
    rig.run_until_idle();
    assert!((0..6).all(|id| rig.timings(id).n_cached_tokens == 0));
    assert!((0..6).all(|id| rig.heard[&id].tokens == alone(&prompt(1, 50), 5)));
}

#[test]
fn decodes_stay_in_one_part_after_sequences_end() {
    let mut rig = Rig::new(Setup { slots: 8, ..Setup::default() });
    for id in 0..8 {
        rig.submit(id, prompt(id as usize, 6), if id % 3 == 1 { 10 } else { 80 });
    }
    rig.run_until_idle();
    for id in 0..8 {
        let n = if id % 3 == 1 { 10 } else { 80 };
        assert_eq!(rig.heard[&id].tokens, alone(&prompt(id as usize, 6), n), "moved sequences keep their KV");
    }
    assert!(rig.backend.split_decodes <= 6, "{} split decodes", rig.backend.split_decodes);
}

#[test]
fn interactive_requests_overtake_batch_requests_until_those_have_aged() {
    let mut rig = Rig::new(Setup { slots: 1, ..Setup::default() });
    let params = SamplingParams::default().max_tokens(3).ignore_eos(true);
    rig.submit_with(0, prompt(0, 4), Priority::Interactive, params.clone());
    rig.submit_with(1, prompt(1, 4), Priority::Batch, params.clone());
    rig.submit_with(2, prompt(2, 4), Priority::Interactive, params.clone());
    rig.run_until_idle();
    assert!(rig.timings(2).queue < rig.timings(1).queue);

    let mut rig = Rig::new(Setup { slots: 1, ..Setup::default() });
    rig.submit_with(0, prompt(0, 4), Priority::Batch, params.clone());
    rig.submit_with(1, prompt(0, 4), Priority::Batch, params.clone());
    rig.now += Duration::from_secs(11);
    rig.submit_with(2, prompt(2, 4), Priority::Interactive, params);
    rig.run_until_idle();
    let ended = |id| rig.timings(id).e2e + if id == 2 { Duration::from_secs(11) } else { Duration::ZERO };
    assert!(ended(1) < ended(2), "aged batch requests are not overtaken");
}

#[test]
fn a_paused_sequence_keeps_its_slot_and_goes_on_later() {
    let mut rig = Rig::new(Setup { slots: 2, ..Setup::default() });
    rig.submit(0, prompt(0, 4), 30);
    rig.submit(1, prompt(1, 4), 30);
    while rig.heard[&0].tokens.len() < 5 {
        rig.step();
    }
    rig.scheduler.set_paused(0, true, rig.now);
    let had = rig.heard[&0].tokens.len();
    rig.run_until_idle();
    assert_eq!(rig.reason(1), FinishReason::Length);
    assert_eq!(rig.heard[&0].tokens.len(), had);
    rig.scheduler.set_paused(0, false, rig.now);
    rig.run_until_idle();
    assert_eq!(rig.heard[&0].tokens, alone(&prompt(0, 4), 30));
}

#[test]
fn unread_requests_give_their_slots_up_to_those_who_wait() {
    let mut rig = Rig::new(Setup { slots: 2, ..Setup::default() });
    (0..3).for_each(|id| rig.submit(id, prompt(id as usize, 9), 40));
    while rig.heard[&1].tokens.len() < 5 {
        rig.step();
    }
    for id in 0..2 {
        rig.scheduler.set_paused(id, true, rig.now);
    }
    rig.step();
    let strikes = rig.scheduler.next_deadline().expect("somebody waits, and nobody reads");
    assert!(!rig.scheduler.has_work());
    assert_eq!(rig.scheduler.totals().parked, 0, "a short pause costs nothing");
    rig.now = strikes;
    rig.run_until_idle();
    assert_eq!(rig.reason(2), FinishReason::Length);
    let totals = rig.scheduler.totals();
    assert_eq!((totals.running, totals.waiting, totals.parked), (1, 0, 1), "no more than are waited for");
    // Others fill the slots, and overwrite what was there.
    (3..6).for_each(|id| rig.submit(id, prompt(id as usize, 9), 40));
    rig.now += Duration::from_secs(1);
    rig.run_until_idle();
    for id in 0..2 {
        rig.scheduler.set_paused(id, false, rig.now);
    }
    rig.run_until_idle();
    for id in 0..6 {
        assert_eq!(rig.heard[&id].tokens, alone(&prompt(id as usize, 9), 40), "{id} goes on as if alone");
    }
}

#[test]
fn a_hundred_unread_requests_leave_the_slots_to_those_who_read() {
    let mut rig = Rig::new(Setup { ..Setup::default() });
    let params = SamplingParams::default().max_tokens(60).ignore_eos(true);
    for id in 0..120 {
        rig.submit_with(id, prompt(id as usize, 9), Priority::Interactive, params.clone());
    }
    let is_read = |id: RequestId| id % 6 == 5;
    for _ in 0..20_000 {
        if !rig.step()
            && let Some(next) = rig.scheduler.next_deadline()
        {
            rig.now = rig.now.max(next);
        }
        let unread: Vec<RequestId> = rig
            .heard
            .iter()
            .filter(|(id, heard)| !is_read(**id) && heard.tokens.len() >= 8)
            .map(|(&id, _)| id)
            .collect();
        unread.into_iter().for_each(|id| rig.scheduler.set_paused(id, true, rig.now));
        if (0..120).filter(|&id| is_read(id)).all(|id| rig.heard[&id].finish.is_some()) {
            break;
        }
    }
    for id in (0..120).filter(|&id| is_read(id)) {
        assert_eq!(rig.heard[&id].tokens, alone(&prompt(id as usize, 9), 60));
    }
    assert!(rig.scheduler.totals().parked > 80);
    (0..120).for_each(|id| rig.scheduler.set_paused(id, false, rig.now));
    rig.run_until_idle();
    assert!((0..120).all(|id| rig.heard[&id].tokens == alone(&prompt(id as usize, 9), 60)));
}

#[test]
fn deadlines_strike_in_the_queue_and_in_total() {
    let mut rig = Rig::new(Setup { slots: 1, ..Setup::default() });
    let params = Arc::new(SamplingParams::default().max_tokens(200).ignore_eos(true));
    for (id, queue, total) in [(0, None, Some(3)), (1, Some(1), None)] {
        rig.heard.insert(id, Heard::default());
        rig.scheduler.submit(NewSequence {
            id,
            prompt: prompt(id as usize, 4),
            params: params.clone(),
            matcher: None,
            markup: Arc::default(),
            prefix_reuse: true,
            score_from: None,
            report_progress: true,
            priority: Priority::Interactive,
            submitted: Duration::ZERO,
            queue_deadline: queue.map(Duration::from_secs),
            deadline: total.map(Duration::from_secs),
        });
    }
    assert_eq!(rig.scheduler.next_deadline(), Some(Duration::from_secs(1)));
    rig.run_until_idle();
    assert_eq!((rig.reason(0), rig.reason(1)), (FinishReason::Deadline, FinishReason::Deadline));
    assert!(rig.heard[&0].tokens.len() > 5 && rig.heard[&1].tokens.is_empty());
    assert!(rig.timings(1).e2e >= Duration::from_secs(1) && rig.timings(1).e2e < Duration::from_millis(1200));
    assert_eq!(rig.backend.live_sequences(), 0);
}

#[test]
fn the_end_of_generation_and_stop_strings_end_a_text() {
    let mut rig = Rig::new(Setup::default());
    let free_run = alone(&prompt(5, 9), 100);
    let natural_end = free_run.iter().position(|t| END.contains(t));
    rig.submit_with(0, prompt(5, 9), Priority::Interactive, SamplingParams::default().max_tokens(100));
    rig.run_until_idle();
    assert_eq!(rig.heard[&0].tokens.len(), natural_end.expect("one in twenty tokens ends"));
    assert_eq!(rig.reason(0), FinishReason::Stop);

    let whole: String = free_run.iter().flat_map(|&t| vocab().piece(t).to_vec()).map(char::from).collect();
    let stop = whole[6..9].to_owned();
    rig.submit_with(
        1,
        prompt(5, 9),
        Priority::Interactive,
        SamplingParams::default().max_tokens(100).stop(vec!["????".into(), stop.clone()]).ignore_eos(true),
    );
    rig.run_until_idle();
    assert_eq!(rig.heard[&1].text, whole[..whole.find(&stop).unwrap()]);
    assert_eq!(rig.heard[&1].finish.as_ref().unwrap().stop, Some(1));
}

#[test]
fn a_failed_call_ends_its_sequences_and_no_others() {
    let mut rig = Rig::new(Setup { contexts: 2, slots: 1, ..Setup::default() });
    rig.backend.fail_every = Some(9);
    for id in 0..6 {
        rig.submit(id, prompt(id as usize, 5), 6);
    }
    rig.run_until_idle();
    let failed = (0..6).filter(|&id| rig.reason(id) == FinishReason::Error).count();
    assert!((1..6).contains(&failed), "{failed}");
    for id in (0..6).filter(|&id| rig.reason(id) != FinishReason::Error) {
        assert_eq!(rig.heard[&id].tokens, alone(&prompt(id as usize, 5), 6), "emptied slots serve the next request");
    }
    assert_eq!(rig.backend.live_sequences(), 0);
}

#[test]
fn reproducible_chunks_do_not_depend_on_company() {
    let chunks = |others: u64| {
        let mut rig =
            Rig::new(Setup { contexts: 4, slots: 1, reproducible: true, prefix_reuse: false, ..Setup::default() });
        for id in 1..=others {
            rig.submit(id, prompt(id as usize, 10), 40);
        }
        rig.step();
        rig.submit(0, prompt(0, 90), 2);
        rig.run_until_idle();
        let mine = prompt(0, 90)[..8].to_vec();
        let context = rig.calls.iter().find(|(c, _)| c.rows.iter().take(8).map(|r| r.token).eq(mine.iter().copied()));
        let context = context.expect("prefilled").0.context;
        rig.calls
            .iter()
            .filter(|(c, _)| c.context == context && c.kind == CallKind::Prefill)
            .map(|(c, _)| c.rows.len())
            .collect::<Vec<_>>()
    };
    assert_eq!(chunks(0), [32, 32, 26]);
    assert_eq!(chunks(3), chunks(0));
}

const WINDOW: SimWindow = SimWindow { positions: 16, spare: 8 };

/// The rows that were computed of prompts.
fn prompt_rows(rig: &Rig) -> usize {
    rig.calls.iter().filter(|(c, _)| c.kind == CallKind::Prefill).map(|(c, _)| c.rows.len()).sum()
}

#[test]
fn with_a_sliding_window_a_beginning_is_reused_only_where_the_window_still_holds_it() {
    let mut rig = Rig::new(Setup { slots: 2, window: Some(WINDOW), ..Setup::default() });
    rig.submit(0, prompt(1, 100), 1);
    rig.run_until_idle();
    // 99 of 100 are shared; the window reaches 24 positions back.
    for (id, shared, cached) in [(1, 95, 95), (2, 60, 0)] {
        let text = [prompt(1, 100)[..shared].to_vec(), prompt(7, 20)].concat();
        rig.submit(id, text.clone(), 4);
        rig.run_until_idle();
        assert_eq!(rig.timings(id).n_cached_tokens, cached);
        assert_eq!(rig.heard[&id].tokens, alone(&text, 4));
        rig.submit(10 + id, prompt(1, 100), 1);
        rig.run_until_idle();
    }
}

#[test]
fn with_a_sliding_window_a_running_prefill_stops_where_others_wait_to_go_on() {
    let mut rig = Rig::new(Setup { window: Some(WINDOW), n_ctx: 512, ..Setup::default() });
    let with_tail = |n: usize| [prompt(1, 90), prompt(50 + n, 120)].concat();
    for id in 0..4 {
        rig.submit(id, with_tail(id as usize), 5);
    }
    rig.run_until_idle();
    for id in 0..4 {
        assert_eq!(rig.heard[&id].tokens, alone(&with_tail(id as usize), 5));
    }
    assert!(rig.timings(3).n_cached_tokens >= 90);
    assert!(prompt_rows(&rig) <= 90 + 4 * 120, "{} prompt rows computed", prompt_rows(&rig));
}

#[test]
fn nobody_waits_for_a_prefill_that_has_passed_by() {
    let mut rig = Rig::new(Setup { window: Some(WINDOW), n_ctx: 2048, max_stall_ms: 1, ..Setup::default() });
    rig.submit(9, prompt(9, 4), 400);
    rig.submit(0, prompt(1, 600), 1);
    while prompt_rows(&rig) < 300 {
        rig.step();
    }
    rig.submit(1, [prompt(1, 100), prompt(2, 20)].concat(), 1);
    (0..4).for_each(|_| _ = rig.step());
    assert_eq!(rig.heard[&1].left_queue, 1, "seated without the beginning that the window has dropped");
    rig.run_until_idle();
    assert_eq!(rig.timings(1).n_cached_tokens, 0);
}

#[test]
fn with_a_sliding_window_a_moved_chat_still_finds_its_own_beginning() {
    const USERS: usize = 6;
    let mut rig = Rig::new(Setup { slots: USERS, n_ctx: 512, window: Some(WINDOW), ..Setup::default() });
    let mut chats: Vec<Vec<Token>> = (0..USERS).map(|user| prompt(user + 1, 60)).collect();
    for turn in 0..4 {
        let id = |user: usize| (turn * USERS + user) as RequestId;
        for user in (0..USERS).map(|i| (i * 5 + turn) % USERS) {
            rig.submit(id(user), chats[user].clone(), 6 + (user * 5 % 9) as u32);
            (0..3).for_each(|_| _ = rig.step());
        }
        rig.run_until_idle();
        for (user, chat) in chats.iter_mut().enumerate() {
            let cached = rig.timings(id(user)).n_cached_tokens;
            assert!(turn == 0 || cached >= chat.len() - 6, "turn {turn} of {user}: {cached} of {}", chat.len());
            chat.extend(&rig.heard[&id(user)].tokens);
            chat.extend(prompt(user + 20, 5));
        }
    }
    assert!(rig.swaps > 0, "nothing was moved, so nothing was tested");
}

#[test]
fn texts_are_embedded_in_turns_with_those_who_decode_and_those_who_prefill() {
    let mut rig = Rig::new(Setup { n_ctx: 2048, ..Setup::default() });
    for id in 0..3 {
        rig.submit(id, prompt(id as usize, 8), 200);
    }
    while rig.heard[&2].tokens.len() < 10 {
        rig.step();
    }
    rig.embed(10, prompt(1, 1000));
    rig.embed(11, prompt(2, 5));
    rig.submit(9, prompt(9, 1200), 1);
    rig.run_until_idle();
    for id in 0..3 {
        assert_eq!(rig.heard[&id].tokens, alone(&prompt(id as usize, 8), 200), "nobody hears of the text");
        // A decode of four rows takes 120 ms here; 16 rows of a prompt take 300, and so do 16 of a text.
        let longest = *rig.timings(id).itl.iter().max().unwrap();
        assert!(longest <= Duration::from_millis(120 + 600 + 300), "{longest:?}");
    }
    let computed: Vec<usize> = rig.embed_calls.iter().map(|(call, _)| call.n_rows()).collect();
    assert_eq!(computed.iter().sum::<usize>(), 1005);
    let end_of_prompt = rig.calls.iter().filter(|(c, _)| c.kind == CallKind::Prefill).map(|&(_, at)| at).max().unwrap();
    let before = rig.embed_calls.iter().filter(|(_, at)| *at < end_of_prompt).count();
    assert!(before > 20, "{before} parts of texts beside a long prompt");
    assert!(rig.vectors.values().all(|(left_queue, results)| *left_queue == 1 && results[0].is_ok()));

    // With nobody decoding, a long prompt and a long text take turns.
    let mut rig = Rig::new(Setup { n_ctx: 2048, ..Setup::default() });
    rig.submit(0, prompt(3, 2000), 1);
    rig.embed(1, prompt(4, 2000));
    rig.run_until_idle();
    let ends = (rig.calls.last().unwrap().1, rig.embed_calls.last().unwrap().1);
    let apart = ends.0.max(ends.1) - ends.0.min(ends.1);
    assert!(apart < Duration::from_secs(5), "{ends:?}");
}

#[test]
fn whole_texts_share_calls_and_are_never_cut() {
    let mut rig = Rig::new(Setup { whole_texts: Some(4), ..Setup::default() });
    let lengths = [100, 20, 20, 20, 30, 5, 5, 5, 5, 5];
    lengths.iter().enumerate().for_each(|(id, &len)| rig.embed(id as RequestId, prompt(id, len)));
    rig.embed_by(10, prompt(3, 8), Pooling::Rank);
    rig.run_until_idle();
    let parts = |call: &EmbedCall| call.parts.iter().map(|part| part.tokens.len()).collect::<Vec<_>>();
    let calls: Vec<_> = rig.embed_calls.iter().map(|(call, _)| parts(call)).collect();
    // A call takes four texts and 64 tokens; one text it takes whatever its length, and scores do not share calls with vectors.
    assert_eq!(calls, [vec![100], vec![20, 20, 20], vec![30, 5, 5, 5], vec![5, 5], vec![8]]);
    assert!(rig.vectors.values().all(|(left_queue, results)| *left_queue == 1 && results[0].is_ok()));
}

#[test]
fn texts_have_priorities_and_deadlines_as_requests_have() {
    let mut rig = Rig::new(Setup { whole_texts: Some(1), ..Setup::default() });
    rig.embed_new(0, prompt(0, 50), Pooling::Mean, Priority::Batch, None);
    rig.embed_new(1, prompt(1, 50), Pooling::Mean, Priority::Batch, Some(Duration::from_millis(1)));
    rig.embed_new(2, prompt(2, 30), Pooling::Mean, Priority::Interactive, None);
    assert!(!rig.scheduler.is_batch_only());
    rig.run_until_idle();
    let calls: Vec<usize> = rig.embed_calls.iter().map(|(call, _)| call.n_rows()).collect();
    assert_eq!(calls, [30, 50], "the interactive one goes first, and one is too late");
    assert_eq!(rig.vectors[&1], (1, vec![Err(FinishReason::Deadline)]));

    // A text that has begun is not overtaken: what is there of it would be lost.
    let mut rig = Rig::new(Setup { n_ctx: 2048, ..Setup::default() });
    rig.embed_new(0, prompt(0, 1000), Pooling::Mean, Priority::Batch, None);
    rig.step();
    rig.embed_new(1, prompt(1, 10), Pooling::Mean, Priority::Interactive, None);
    rig.run_until_idle();
    let last = rig.embed_calls.last().expect("a call");
    assert_eq!(last.0.n_rows(), 10);
    assert!(rig.vectors.values().all(|(left_queue, results)| *left_queue == 1 && results[0].is_ok()));
}

#[test]
fn prompts_are_scored_in_small_calls_and_from_what_is_there() {
    let mut rig = Rig::new(Setup { slots: 2, ..Setup::default() });
    let shape = rig.backend.shape();
    let text = prompt(3, 100);
    let ask = |rig: &mut Rig, id, from, n_top| {
        let params = SamplingParams::default().max_tokens(1).logprobs(n_top);
        rig.submit_scored(id, text.clone(), from, params);
        rig.calls.clear();
        rig.run_until_idle();
        assert_eq!(rig.heard[&id].scored.as_deref(), Some(&*scored_alone(&text, from)));
        rig.calls.iter().map(|(call, _)| call.rows.len()).collect::<Vec<_>>()
    };
    let whole = ask(&mut rig, 0, 0, 0);
    assert_eq!(whole.iter().sum::<usize>(), 100, "every token is computed once: {whole:?}");
    assert!(whole.iter().all(|&rows| rows <= scored_rows(shape)), "{whole:?}");
    let rest = ask(&mut rig, 1, 80, 3);
    assert_eq!(rig.timings(1).n_cached_tokens, 79, "what stands before the first that is asked about is there");
    assert_eq!(rest.iter().sum::<usize>(), 21, "{rest:?}");
    assert_eq!(
        ask(&mut rig, 2, 99, 0).iter().sum::<usize>(),
        2,
        "the row before the last token, and that of the sample"
    );
}

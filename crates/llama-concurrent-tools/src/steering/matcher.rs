//! Holds a text to its steering, token by token.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use llama_concurrent_types::{Allowed, Matcher, Token, TokenMask, TokenTable};

use super::lark::tokens;
use super::watch::{Event, Watch};

/// What does not change while a text grows.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) table: Arc<TokenTable>,
    /// The form begins where no thought is open. Otherwise anything may be said, and calls are looked out for.
    pub(super) is_eager: bool,
    /// Tokens of thoughts at most.
    pub(super) budget: Option<u32>,
    /// What closes a thought when the budget is spent.
    pub(super) closing: Arc<[Token]>,
    /// The same as text: what follows the mark in it has to follow that mark from a model, too.
    pub(super) closing_text: &'static str,
    /// What opens a thought, where the model may do so in front of the form.
    pub(super) opening: Arc<[Token]>,
    /// White space that models write between a thought and what follows.
    pub(super) spaces: Vec<Arc<[Token]>>,
    pub(super) calls: Option<Seed>,
    /// What of the grammar of calls each of their openings stands for.
    pub(super) triggers: Vec<Vec<Token>>,
    /// The answer's form, behind what opens an answer.
    pub(super) answer: Option<(Arc<[Token]>, Seed)>,
}

/// A grammar at its beginning, from which copies are taken.
#[derive(Debug)]
pub(super) struct Seed(Mutex<Box<dyn Matcher>>);

impl Seed {
    pub(super) fn new(grammar: Box<dyn Matcher>) -> Self {
        Self(Mutex::new(grammar))
    }

    fn copy(&self) -> Box<dyn Matcher> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).boxed_clone()
    }
}

/// One way in which a text may go on.
#[derive(Debug, Clone)]
enum Branch {
    /// These tokens, of which so many have come, and then something else.
    Tokens(Arc<[Token]>, usize, Then),
    Grammar(Box<dyn Matcher>),
}

#[derive(Debug, Clone, Copy)]
enum Then {
    Thought,
    Form,
    Answer,
}

#[derive(Debug, Clone)]
enum State {
    /// Within a thought.
    Thought,
    /// What closes a thought is to be written, of which so many tokens have come.
    Closing(Arc<[Token]>, usize),
    /// Anything may be said.
    Open,
    Form(Vec<Branch>),
    Done,
}

/// A text that is steered.
#[derive(Debug, Clone)]
pub(super) struct Steered {
    plan: Arc<Plan>,
    watch: Watch,
    state: State,
    /// Tokens of thoughts so far.
    n_thought: u32,
}

impl Steered {
    pub(super) fn new(plan: Plan, watch: Watch) -> Self {
        let mut steered = Self { state: State::Open, n_thought: 0, watch, plan: Arc::new(plan) };
        if steered.watch.in_thought() {
            steered.think();
        } else if steered.plan.is_eager {
            let mut branches = steered.form();
            let opening = &steered.plan.opening;
            branches.extend((!opening.is_empty()).then(|| Branch::Tokens(opening.clone(), 0, Then::Thought)));
            steered.state = State::Form(branches);
        }
        steered
    }

    /// A thought goes on, unless it may not.
    fn think(&mut self) {
        let is_spent = self.plan.budget.is_some_and(|budget| self.n_thought >= budget);
        self.watch.set_in_thought(true);
        self.state = if is_spent && !self.plan.closing.is_empty() {
            State::Closing(self.plan.closing.clone(), 0)
        } else {
            State::Thought
        };
    }

    /// No thought is open any more.
    fn speak(&mut self) {
        self.watch.set_in_thought(false);
        self.state = if self.plan.is_eager { State::Form(self.form()) } else { State::Open };
    }

    /// All that the form may begin with.
    fn form(&self) -> Vec<Branch> {
        let mut branches: Vec<Branch> = self.plan.calls.iter().map(|calls| Branch::Grammar(calls.copy())).collect();
        branches.extend(self.plan.answer.iter().map(|(opening, answer)| match opening.is_empty() {
            true => Branch::Grammar(answer.copy()),
            false => Branch::Tokens(opening.clone(), 0, Then::Answer),
        }));
        branches
    }

    /// Takes a token where everything is allowed.
    fn read(&mut self, token: Token) -> Result<bool, String> {
        let plan = Arc::clone(&self.plan);
        self.watch.push(plan.table.text(token, true));
        if matches!(self.state, State::Thought) {
            self.n_thought = self.n_thought.saturating_add(1);
        }
        while let Some(event) = self.watch.next() {
            match event {
                Event::OpenThought => self.state = State::Thought,
                Event::CloseThought(mark) => {
                    self.speak();
                    if plan.is_eager {
                        return self.behind_thought(mark);
                    }
                }
                Event::Call(trigger) => {
                    let (Some(calls), Some(written)) = (&plan.calls, plan.triggers.get(trigger)) else { continue };
                    let Some(rest) = plan.table.spelled(self.watch.rest()) else { continue };
                    let mut grammar = calls.copy();
                    match feed(&mut *grammar, written.iter().chain(&rest))? {
                        // It is no call.
                        None => {}
                        Some(true) => {
                            self.state = State::Done;
                            return Ok(true);
                        }
                        Some(false) => {
                            self.state = State::Form(vec![Branch::Grammar(grammar)]);
                            return Ok(false);
                        }
                    }
                }
            }
        }
        if matches!(self.state, State::Thought) {
            self.think();
        }
        Ok(false)
    }

    /// The form begins behind the mark that closed a thought, and behind what has to follow that mark.
    fn behind_thought(&mut self, mark: usize) -> Result<bool, String> {
        let plan = Arc::clone(&self.plan);
        let mark = String::from_utf8_lossy(self.watch.mark(mark)).into_owned();
        let rest = String::from_utf8_lossy(self.watch.rest()).into_owned();
        let follows = plan.closing_text.find(&mark).map(|at| &plan.closing_text[at + mark.len()..]);
        match follows {
            // It begins what follows, such as the header of a message.
            None => self.try_on(&format!("{mark}{rest}")),
            Some(follows) if follows.trim().is_empty() => {
                if let State::Form(branches) = &mut self.state
                    && rest.is_empty()
                {
                    let spaces = plan.spaces.iter().map(|space| Branch::Tokens(space.clone(), 0, Then::Form));
                    branches.extend(spaces);
                }
                self.try_on(rest.trim_start())
            }
            Some(follows) => match follows.strip_prefix(&*rest).and_then(|follows| tokens(&plan.table, follows)) {
                Some(tokens) if !tokens.is_empty() => {
                    self.state = State::Closing(tokens.into(), 0);
                    Ok(false)
                }
                _ => self.try_on(rest.strip_prefix(follows).unwrap_or(&rest)),
            },
        }
    }

    /// Goes on by a text that a model has written already, if the form allows that.
    fn try_on(&mut self, text: &str) -> Result<bool, String> {
        let before = self.state.clone();
        for token in tokens(&self.plan.table, text).unwrap_or_default() {
            let is_allowed = match self.allowed()? {
                Allowed::Anything { .. } => true,
                Allowed::Tokens { mask, .. } => mask.allows(token),
                Allowed::Nothing => false,
            };
            if !is_allowed {
                // What stands there already cannot be taken back, and the form begins behind it.
                self.state = before;
                return Ok(false);
            }
            if self.accept(token)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn close(&mut self, tokens: Arc<[Token]>, at: usize) {
        self.watch.push(self.plan.table.text(tokens[at], true));
        while self.watch.next().is_some() {}
        if at + 1 == tokens.len() {
            self.speak();
        } else {
            self.state = State::Closing(tokens, at + 1);
        }
    }

    fn go_on(&mut self, branches: Vec<Branch>, token: Token) -> Result<bool, String> {
        let is_only = branches.len() == 1;
        let mut left = Vec::new();
        for branch in branches {
            match branch {
                Branch::Tokens(tokens, at, then) if tokens[at] == token => {
                    if at + 1 < tokens.len() {
                        left.push(Branch::Tokens(tokens, at + 1, then));
                        continue;
                    }
                    match then {
                        Then::Thought => self.think(),
                        Then::Form => self.state = State::Form(self.form()),
                        Then::Answer => {
                            let answer = self.plan.answer.iter().map(|(_, answer)| Branch::Grammar(answer.copy()));
                            self.state = State::Form(answer.collect());
                        }
                    }
                    return Ok(false);
                }
                Branch::Tokens(..) => {}
                Branch::Grammar(mut grammar) => {
                    if is_only || may_come(&mut *grammar, token)? {
                        if grammar.accept(token)? {
                            self.state = State::Done;
                            return Ok(true);
                        }
                        left.push(Branch::Grammar(grammar));
                    }
                }
            }
        }
        if left.is_empty() {
            return Err("a token came that was not allowed".into());
        }
        self.state = State::Form(left);
        Ok(false)
    }
}

fn may_come(grammar: &mut dyn Matcher, token: Token) -> Result<bool, String> {
    Ok(match grammar.allowed()? {
        Allowed::Anything { .. } => true,
        Allowed::Tokens { mask, .. } => mask.allows(token),
        Allowed::Nothing => false,
    })
}

/// Goes on by these tokens; whether the text is complete with them. `None`: they may not come.
fn feed<'t>(grammar: &mut dyn Matcher, tokens: impl Iterator<Item = &'t Token>) -> Result<Option<bool>, String> {
    let mut is_complete = false;
    for &token in tokens {
        if is_complete || !may_come(grammar, token)? {
            return Ok(None);
        }
        is_complete = grammar.accept(token)?;
    }
    Ok(Some(is_complete))
}

impl Matcher for Steered {
    fn allowed(&mut self) -> Result<Allowed, String> {
        let plan = Arc::clone(&self.plan);
        let only = |token: Token| {
            let mut mask = TokenMask::none(plan.table.len());
            mask.set(token, true);
            mask
        };
        match &mut self.state {
            State::Thought => Ok(Allowed::Anything { may_end: !plan.is_eager }),
            State::Open => Ok(Allowed::Anything { may_end: true }),
            State::Done => Ok(Allowed::Nothing),
            State::Closing(tokens, at) => Ok(Allowed::Tokens { mask: only(tokens[*at]), may_end: false }),
            State::Form(branches) => {
                if let [Branch::Grammar(grammar)] = &mut branches[..] {
                    return grammar.allowed();
                }
                let (mut all, mut any_end) = (TokenMask::none(plan.table.len()), false);
                for branch in branches {
                    match branch {
                        Branch::Tokens(tokens, at, _) => all.set(tokens[*at], true),
                        Branch::Grammar(grammar) => match grammar.allowed()? {
                            Allowed::Tokens { mask, may_end } => {
                                all.unite(&mask);
                                any_end |= may_end;
                            }
                            Allowed::Nothing => any_end = true,
                            anything @ Allowed::Anything { .. } => return Ok(anything),
                        },
                    }
                }
                Ok(Allowed::Tokens { mask: all, may_end: any_end })
            }
        }
    }

    fn accept(&mut self, token: Token) -> Result<bool, String> {
        match mem::replace(&mut self.state, State::Done) {
            State::Closing(tokens, at) => {
                self.close(tokens, at);
                Ok(false)
            }
            State::Form(branches) => self.go_on(branches, token),
            State::Done => Err("a token came behind the end".into()),
            open => {
                self.state = open;
                self.read(token)
            }
        }
    }

    fn forced(&self) -> Vec<u8> {
        let text =
            |tokens: &[Token]| tokens.iter().flat_map(|&token| self.plan.table.text(token, true)).copied().collect();
        match &self.state {
            State::Closing(tokens, at) => text(&tokens[*at..]),
            State::Form(branches) => match &branches[..] {
                [Branch::Tokens(tokens, at, _)] => text(&tokens[*at..]),
                [Branch::Grammar(grammar)] => grammar.forced(),
                _ => Vec::new(),
            },
            State::Thought | State::Open | State::Done => Vec::new(),
        }
    }

    fn boxed_clone(&self) -> Box<dyn Matcher> {
        Box::new(self.clone())
    }
}

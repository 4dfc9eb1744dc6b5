//! The grammars that were compiled last, so that equal constraints are compiled once: all answers to one request, the prompts of
//! a list, and services that ask for the same form all day.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use super::{Constraint, Grammar};

/// Grammars at their beginnings, the one that was asked for last in front.
#[derive(Default)]
pub(super) struct Recent(Mutex<VecDeque<Grammar>>);

impl Recent {
    /// Forms that are in use at the same time are few, and a large one takes some megabytes.
    const MOST: usize = 8;

    /// A copy of the grammar of this constraint, if it is here.
    pub(super) fn find(&self, constraint: &Constraint) -> Option<Grammar> {
        let mut grammars = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let index = grammars.iter().position(|grammar| grammar.source == *constraint)?;
        let grammar = grammars.remove(index)?;
        let copy = grammar.apart();
        grammars.push_front(grammar);
        Some(copy)
    }

    /// Keeps a copy of a grammar at its beginning, in place of the one that was asked for longest ago.
    pub(super) fn keep(&self, grammar: &Grammar) {
        let copy = grammar.apart();
        let mut grammars = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Two threads may have compiled the same.
        grammars.retain(|kept| kept != grammar);
        grammars.push_front(copy);
        grammars.truncate(Self::MOST);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Compiler, *};
    use llama_concurrent_types::{Allowed, Matcher, Token, TokenTable};

    /// Its tokens are the bytes.
    fn compiler() -> Compiler {
        Compiler::new(&TokenTable::new((0..=255u8).map(|byte| [byte]), vec![])).expect("a vocabulary")
    }

    fn allows(grammar: &mut Grammar, letter: char) -> bool {
        match grammar.allowed().expect("simple enough") {
            Allowed::Tokens { mask, .. } => mask.allows(letter as Token),
            Allowed::Nothing => false,
            Allowed::Anything { .. } => true,
        }
    }

    #[test]
    fn equal_constraints_are_compiled_once_and_go_apart() {
        let compiler = compiler();
        let constraint = Constraint::Regex("ab|cd".into());
        assert!(compiler.recent.find(&constraint).is_none());
        let mut first = compiler.compile(&constraint).unwrap();
        assert!(!first.accept('a' as Token).unwrap());
        let mut second = compiler.recent.find(&constraint).expect("kept");
        assert!(allows(&mut first, 'b') && !allows(&mut first, 'c'));
        assert!(allows(&mut second, 'a') && allows(&mut second, 'c'), "at its beginning");
        assert!(compiler.recent.find(&Constraint::Grammar("ab|cd".into())).is_none(), "another form of the same text");
    }

    #[test]
    fn what_was_asked_for_longest_ago_makes_room() {
        let compiler = compiler();
        let numbered = |n: usize| Constraint::Regex(format!("a{n}"));
        for n in 0..=Recent::MOST {
            compiler.compile(&numbered(n)).unwrap();
            compiler.compile(&numbered(0)).unwrap();
        }
        let kept: Vec<_> = (0..=Recent::MOST).filter(|&n| compiler.recent.find(&numbered(n)).is_some()).collect();
        assert_eq!(kept, [&[0][..], &(2..=Recent::MOST).collect::<Vec<_>>()].concat());
    }

    #[test]
    fn what_cannot_be_compiled_is_not_kept() {
        let (compiler, wrong) = (compiler(), Constraint::Regex("(".into()));
        assert!(compiler.compile(&wrong).is_err() && compiler.compile(&wrong).is_err());
        assert!(compiler.recent.find(&wrong).is_none());
    }
}

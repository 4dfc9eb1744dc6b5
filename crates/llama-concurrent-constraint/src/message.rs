//! What llguidance says of a constraint, as it goes into our errors.

/// The longest message of an error, in characters; llguidance quotes the text.
const MAX_MESSAGE: usize = 600;

/// In one line, without the state and the stack that llguidance may append.
pub(super) fn first_words(message: &str) -> String {
    let end = ["\n<", "<non-verbose/>"].iter().filter_map(|mark| message.find(mark)).min().unwrap_or(message.len());
    // One line of it, without the lines that quote the text and mark a place in it by its column.
    let quotes = |line: &str| line.split_once(" | ").is_some_and(|(number, _)| number.parse::<u32>().is_ok());
    let lines =
        message[..end].lines().map(str::trim).filter(|line| !line.trim_matches('^').is_empty() && !quotes(line));
    let words = lines.map(|line| line.strip_prefix("error: ").unwrap_or(line)).collect::<Vec<_>>().join(" ");
    // Its limits are not complete: what is beyond 16 bits of symbols ends in a failed assertion.
    if words.starts_with("panic") {
        return format!("it is too complex ({words})");
    }
    let words = words.replace("regex parse error: ", "");
    // What is wrong stands at the end, what it is about at the beginning.
    let length = words.chars().count();
    if length <= MAX_MESSAGE {
        return words;
    }
    let (head, tail) = (words.chars().take(MAX_MESSAGE / 2), words.chars().skip(length - MAX_MESSAGE / 2));
    head.chain(" ... ".chars()).chain(tail).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_one_short_line() {
        let regex = "at 1(8): invalid regex \"(\": regex parse error:\n    (\n    ^\nerror: unclosed group\n   1 | start: /(/\n  ^";
        assert_eq!(first_words(regex), "at 1(8): invalid regex \"(\": ( unclosed group");
        assert_eq!(first_words("NoExtensionBias\n<non-verbose/>"), "NoExtensionBias");
        assert_eq!(first_words("panic: no\n<backtrace>\nmuch\n</backtrace>"), "it is too complex (panic: no)");
        assert_eq!(first_words(&"é".repeat(5000)).chars().count(), MAX_MESSAGE + 5);
    }
}

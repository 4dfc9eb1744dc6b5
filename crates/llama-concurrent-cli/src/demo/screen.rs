//! A part of the terminal that is redrawn, and stays in the scrollback at the end.

use std::{
    io::{self, Stdout, Write, stdout},
    time::{Duration, Instant},
};

use crossterm::{
    QueueableCommand,
    cursor::{Hide, MoveTo, MoveToColumn, MoveUp, Show},
    event::{Event, KeyCode, KeyEventKind, KeyModifiers, poll, read},
    style::Print,
    terminal::{self, BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate},
};

use super::boxes::Page;

/// If the terminal does not report its size.
const USUAL_SIZE: (u16, u16) = (80, 24);

/// Controls the terminal, and restores it when dropped.
pub struct Screen {
    out: Stdout,
    size: (u16, u16),
    /// Lines of the last drawing; the cursor is below them.
    drawn: u16,
}

impl Screen {
    /// Takes the keys for itself, so that none of them is echoed into the view.
    pub fn open() -> io::Result<Self> {
        terminal::enable_raw_mode()?;
        let mut screen = Self { out: stdout(), size: terminal::size().unwrap_or(USUAL_SIZE), drawn: 0 };
        screen.out.queue(Hide)?.flush()?;
        Ok(screen)
    }

    /// Draws the page over the one before.
    pub fn draw(&mut self, page: &Page<'_>) -> io::Result<()> {
        let (width, height) = self.size;
        let lines = page.fit(width.into(), height.into());
        self.replace(&lines)
    }

    /// Replaces the view by the whole texts and leaves the terminal.
    pub fn close(mut self, page: &Page<'_>) -> io::Result<()> {
        let lines = page.whole(self.size.0.into());
        self.replace(&lines)
    }

    /// Waits until the next redraw is due. Returns whether the user wants to quit.
    pub fn wait(&mut self, limit: Duration) -> io::Result<bool> {
        let deadline = Instant::now() + limit;
        while poll(deadline.saturating_duration_since(Instant::now()))? {
            match read()? {
                Event::Resize(width, height) => self.resize((width, height))?,
                Event::Key(key) if key.kind == KeyEventKind::Press => match key.code {
                    KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Ok(true),
                    KeyCode::Char('q') | KeyCode::Esc => return Ok(true),
                    _ => {}
                },
                _ => {}
            }
        }
        Ok(false)
    }

    /// Terminals wrap the old lines in their own ways, so nothing of them is kept.
    fn resize(&mut self, size: (u16, u16)) -> io::Result<()> {
        self.size = size;
        self.drawn = 0;
        self.out.queue(Clear(ClearType::All))?.queue(MoveTo(0, 0))?;
        Ok(())
    }

    fn replace(&mut self, lines: &[String]) -> io::Result<()> {
        self.out.queue(BeginSynchronizedUpdate)?.queue(MoveToColumn(0))?;
        if self.drawn > 0 {
            self.out.queue(MoveUp(self.drawn))?;
        }
        for line in lines {
            self.out.queue(Print(line))?.queue(Clear(ClearType::UntilNewLine))?.queue(Print("\r\n"))?;
        }
        self.out.queue(Clear(ClearType::FromCursorDown))?.queue(EndSynchronizedUpdate)?.flush()?;
        self.drawn = lines.len() as u16;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.out.queue(Show).and_then(|out| out.flush());
        let _ = terminal::disable_raw_mode();
    }
}

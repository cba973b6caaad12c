/** The user interface of a chat: a screen, or lines. It shows the session's states and returns the user's input. */
import type { Input } from './input.ts'
import type { State } from './state.ts'

export interface Front {
  /** Takes over the terminal. `onInput` gets the user's input; `onEnd` is called at its end. */
  start(handlers: { readonly onInput: (input: Input) => void; readonly onEnd: () => void }): void
  /** Shows a new state, and later reports the entries that reached the terminal with a `drawn` input. */
  show(state: State): void
  /** Restores the terminal. May be called twice. */
  stop(): void
  /** Notifies the user that a message came, without its text or sender. */
  notify(): void
  /** Shows a text alone and unwrapped, until the user presses a key. The text is safe to show. */
  alone(text: string): void
  /** Redraws everything. */
  redraw(): void
  /** Restores the terminal and suspends the process (Ctrl-Z). */
  suspend(): void
}

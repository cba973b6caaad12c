/** How a chat meets the person: a screen, or lines. The session gives it states, it gives the session inputs. */
import type { Input } from './input.ts'
import type { State } from './state.ts'

export interface Front {
  /** Takes the terminal. What is typed goes to `onInput`; `onEnd` says that nothing more will be typed. */
  start(handlers: { readonly onInput: (input: Input) => void; readonly onEnd: () => void }): void
  /** The state is another one. What of it got to the terminal, the front tells by a `drawn`, in its own time. */
  show(state: State): void
  /** Gives the terminal back. Harmless twice. */
  stop(): void
  /** Asks for the person's eyes, without a word of what for. */
  notify(): void
  /** Draws everything again. */
  redraw(): void
  /** Gives the terminal back until the process goes on (Ctrl-Z). */
  suspend(): void
}

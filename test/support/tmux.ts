/**
 * A real terminal for tests: a private tmux server whose screens are read and whose keys are pressed. Stopping
 * it ends everything that runs in it.
 */
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { promisify } from 'node:util'

const exec = promisify(execFile)

export interface Pane {
  /** Returns the screen's text. */
  screen(): Promise<string>
  /** Resolves with the screen once it matches. @throws Error with the last screen */
  until(pattern: RegExp, seconds?: number): Promise<string>
  /** Keys by tmux's names (`Enter`, `M-Enter`, `C-c`, `PageUp`); anything else is typed. */
  press(...keys: readonly string[]): Promise<void>
  type(text: string): Promise<void>
  /** Pastes like a terminal: bracketed if the program requested that. */
  paste(text: string): Promise<void>
  resize(columns: number, rows: number): Promise<void>
  /** Returns a tmux variable, such as `alternate_on` or `cursor_x`. */
  value(name: string): Promise<string>
}

export interface Terminal {
  /** @param command a command line for `sh` */
  open(
    name: string,
    command: string,
    options?: { readonly columns?: number; readonly rows?: number; readonly env?: Readonly<Record<string, string>> },
  ): Promise<Pane>
  stop(): Promise<void>
}

export function startTerminal(): Terminal {
  const folder = mkdtempSync(join(tmpdir(), 'asf-tmux-'))
  const tmux = async (...args: readonly string[]): Promise<string> =>
    (await exec('tmux', ['-S', join(folder, 'sock'), '-f', '/dev/null', ...args])).stdout
  return {
    async open(name, command, { columns = 80, rows = 24, env = {} } = {}) {
      const variables = Object.entries({ LANG: 'C.UTF-8', LC_ALL: 'C.UTF-8', ...env }).flatMap(([variable, value]) => [
        '-e',
        `${variable}=${value}`,
      ])
      await tmux('new-session', '-d', '-s', name, '-x', String(columns), '-y', String(rows), ...variables, command)
      await tmux('set-option', '-g', 'focus-events', 'off')
      const target = `=${name}:`
      const pane: Pane = {
        screen: () => tmux('capture-pane', '-p', '-t', target),
        async until(pattern, seconds = 30) {
          const deadline = performance.now() + seconds * 1_000
          for (;;) {
            const screen = await pane.screen()
            if (pattern.test(screen)) return screen
            if (performance.now() > deadline) throw new Error(`the screen of ${name} does not show ${pattern}, but:\n${screen}`)
            await pause(50)
          }
        },
        press: async (...keys) => void (await tmux('send-keys', '-t', target, ...keys)),
        type: async (text) => void (await tmux('send-keys', '-t', target, '-l', text)),
        async paste(text) {
          await tmux('set-buffer', '-b', 'test', text)
          await tmux('paste-buffer', '-p', '-d', '-b', 'test', '-t', target)
        },
        resize: async (columns, rows) => void (await tmux('resize-window', '-t', target, '-x', String(columns), '-y', String(rows))),
        value: async (value) => (await tmux('display-message', '-p', '-t', target, `#{${value}}`)).trimEnd(),
      }
      return pane
    },
    async stop() {
      await tmux('kill-server').catch(() => {})
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

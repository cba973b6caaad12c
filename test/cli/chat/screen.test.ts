/** The bytes that a screen writes: only changed rows, no sequence of a peer, and every mode reset at the end. */
import { describe, expect, it } from 'vitest'
import { Screen } from '../../../src/cli/chat/screen.ts'
import type { Frame } from '../../../src/cli/chat/view.ts'
import { TestChat } from '../../support/chat.ts'

const ESC = '\u{1b}'

function createScreen(options: { color?: boolean; mouse?: boolean; modern?: boolean } = {}): { screen: Screen; written: () => string } {
  let written = ''
  const output = {
    write(text: string, done?: () => void) {
      written += text
      done?.()
    },
  }
  const screen = new Screen(output, { color: true, mouse: false, modern: true, ...options })
  return {
    screen,
    written() {
      const all = written
      written = ''
      return all
    },
  }
}

const frameOf = (...lines: readonly string[]): Frame => ({
  rows: lines.map((text) => [{ text, role: 'plain' }]),
  cursor: { row: 0, column: 0 },
  drawn: [],
})

describe('a screen', () => {
  it('writes only the changed rows and the cursor', () => {
    const { screen, written } = createScreen()
    screen.enter()
    screen.draw(frameOf('one', 'two'))
    expect(written()).toContain('one')
    screen.draw(frameOf('one', 'three'))
    expect(written()).toBe(`${ESC}[?2026h${ESC}[?25l${ESC}[2;1H${ESC}[0m${ESC}[2Kthree${ESC}[0m${ESC}[1;1H${ESC}[?25h${ESC}[?2026l`)
    screen.draw(frameOf('one', 'three'))
    expect(written()).toBe(`${ESC}[0m${ESC}[1;1H${ESC}[?25h`)
    screen.forget()
    screen.draw(frameOf('one', 'three'))
    expect(written()).toContain('one')
  })

  it('repositions the cursor after characters whose width terminals disagree about', () => {
    const { screen, written } = createScreen()
    screen.draw(frameOf('a👨‍👩‍👧b'))
    expect(written()).toContain(`a👨‍👩‍👧${ESC}[4Gb`)
  })

  it('resets every mode that it set', () => {
    const { screen, written } = createScreen({ mouse: true })
    screen.enter()
    const set = [...written().matchAll(/\[\?(\d+)([hl])/g)].map(([, mode, how]) => `${mode}${how === 'h' ? 'l' : 'h'}`)
    screen.leave()
    const back = written()
    for (const mode of set) expect(back).toContain(`${ESC}[?${mode}`)
    expect(back).toContain(`${ESC}[<u`)
    expect(back).toContain(`${ESC}[?25h`)
    expect(back.endsWith(`${ESC}[?1049l`)).toBe(true)
    screen.leave()
    expect(written()).toBe('')
  })

  it('calls back once the terminal has a frame', () => {
    const { screen } = createScreen()
    let told = 0
    screen.draw(frameOf('one'), () => told++)
    expect(told).toBe(1)
  })

  it('writes no colours with color: false', () => {
    const chat = new TestChat({ rows: 20 })
    chat.arrive({ text: 'see https://example.org', verdict: 'forged' })
    chat.deliver(chat.say('hi'), 'delivered')
    const { screen, written } = createScreen({ color: false })
    screen.draw(chat.frame())
    const styles = [...written().matchAll(/\[([\d;]*)m/g)].flatMap(([, numbers]) => numbers!.split(';').map(Number))
    expect(styles.length).toBeGreaterThan(3)
    expect(styles.filter((style) => style >= 30)).toEqual([])
  })

  it("writes no control sequence from a peer's text, and shows addresses as text", () => {
    const chat = new TestChat({ rows: 30, columns: 80 })
    chat.arrive({ text: `https://example.org ${ESC}]8;;https://evil.example${ESC}\\click${ESC}]8;;${ESC}\\ ${ESC}[2J${ESC}c\u{9b}31m` })
    const { screen, written } = createScreen()
    screen.draw(chat.frame())
    // Remove the screen's own sequences and look at the rest.
    const [first = '', ...sequences] = written().split(`${ESC}[`)
    const rest = first + sequences.map((each) => each.replace(/^(?:\?\d+[hl]|[\d;]*[mHGKJ])/, '')).join('')
    expect(rest).not.toMatch(/[\p{Cc}]/u)
    expect(rest).toContain('https://example.org')
  })

  it('rings and notifies without content of the message', () => {
    const { screen, written } = createScreen()
    screen.notify()
    expect(written()).toBe(`\u{7}${ESC}]9;a new message\u{7}`)
  })
})

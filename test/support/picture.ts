/**
 * The chat's picture in the README: plays a scene on the state machine and draws its screen as SVG. Run by
 * node, this file writes docs/chat.svg; test/cli/chat/picture.test.ts compares.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Role, type Row, widthOf } from '../../src/cli/chat/text.ts'
import { BOB, CAROL, TEA, TestChat } from './chat.ts'

export const PICTURE = join(import.meta.dirname, '../../docs/chat.svg')

const COLUMNS = 84
const ROWS = 20
const CELL = { width: 8.4, height: 18 }
const EDGE = 14

/** Colours that are readable on light and dark pages; the picture has its own background. */
const COLORS: Readonly<Record<Role, string>> = {
  plain: '#d8dee9',
  dim: '#7b8494',
  strong: '#ffffff',
  me: '#7fd1de',
  them: '#a3d977',
  good: '#8fbf7f',
  warn: '#e5c07b',
  bad: '#f0716b',
  bar: '#1e232b',
  open: '#7fd1de',
  chosen: '#1e232b',
  match: '#1e232b',
  link: '#d8dee9',
}
const GROUNDS: Partial<Record<Role, string>> = { bar: '#c8ced9', chosen: '#c8ced9', match: '#e5c07b' }
const BOLD: ReadonlySet<Role> = new Set<Role>(['strong', 'me', 'them', 'open', 'bad'])

/** A noon's conversation of two people and a group. */
export function playScene(): TestChat {
  const chat = new TestChat({ rows: ROWS, columns: COLUMNS })
  const minutes = (count: number): void => {
    chat.now += count * 60_000
  }
  chat.arrive({ conversation: TEA, author: 'carol', fingerprint: CAROL, text: 'who brings the milk?' })
  chat.arrive({ text: 'the kettle is on', id: 'kettle' })
  chat.draw()
  minutes(1)
  chat.deliver(chat.say('on my way. The tram stands still at the bridge, so I walk: ten minutes, perhaps a little more'), 'read')
  minutes(2)
  chat.arrive({ text: 'take the stairs behind the mill, it is shorter. I put the map here:\nhttps://example.org/mill#stairs', id: 'map' })
  chat.draw()
  minutes(1)
  chat.type('/reply\r')
  chat.deliver(chat.say('found them'), 'delivered')
  minutes(3)
  chat.put({
    kind: 'file',
    conversation: BOB,
    id: 'file',
    author: 'bob',
    fingerprint: BOB,
    transfer: { name: 'recipe.pdf', total: 482_133, moved: 331_000, state: 'moving' },
  })
  chat.draw()
  chat.deliver(chat.say('is there any of the blackberry jam left?'), 'held')
  chat.arrive({ conversation: 'strangers', author: 'stranger', fingerprint: 'SHA256:x', text: 'hello' })
  chat.type('I bring bread,\u{1b}\rand the good butter')
  return chat
}

const escape = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')

function rowToSvg(row: Row, index: number): string {
  const y = EDGE + index * CELL.height
  let column = 0
  const parts: string[] = []
  for (const { text, role } of row) {
    const x = EDGE + column * CELL.width
    const wide = widthOf(text) * CELL.width
    const ground = GROUNDS[role]
    if (ground !== undefined)
      parts.push(`<rect x="${x.toFixed(1)}" y="${y}" width="${wide.toFixed(1)}" height="${CELL.height}" fill="${ground}"/>`)
    if (text.trim() !== '') {
      const weight = BOLD.has(role) ? ' font-weight="bold"' : ''
      const line = role === 'link' ? ' text-decoration="underline"' : ''
      parts.push(
        `<text x="${x.toFixed(1)}" y="${y + 13}" textLength="${wide.toFixed(1)}" fill="${COLORS[role]}"${weight}${line}>${escape(text)}</text>`,
      )
    }
    column += widthOf(text)
  }
  return parts.join('\n')
}

export function drawPicture(): string {
  const { rows, cursor } = playScene().frame()
  const width = Math.ceil(COLUMNS * CELL.width + 2 * EDGE)
  const height = ROWS * CELL.height + 2 * EDGE
  const block =
    cursor === undefined
      ? ''
      : `<rect x="${(EDGE + cursor.column * CELL.width).toFixed(1)}" y="${EDGE + cursor.row * CELL.height}" width="${CELL.width}" height="${CELL.height}" fill="#d8dee9"/>\n`
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="asfaleia chat: a list of conversations, messages with how they got on, and a line being written">
<style>text { font: 14px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; white-space: pre }</style>
<rect width="${width}" height="${height}" rx="8" fill="#1e232b"/>
${rows
  .map(rowToSvg)
  .filter((row) => row !== '')
  .join('\n')}
${block}</svg>
`
}

if (import.meta.main) writeFileSync(PICTURE, drawPicture())

/**
 * Searches messages for words: those of the history if the user keeps one, otherwise those of this session. Messages that
 * disappear are not found: the result would keep their texts on the screen.
 */
import { showName } from '../../wording/name.ts'
import type { Context } from './context.ts'
import type { Kept } from './input.ts'
import { clock, dayOf } from '../../wording/figures.ts'

/** The most messages that a search shows: the newest. */
const MOST = 200

type Found = Pick<Kept, 'conversation' | 'author' | 'at' | 'text'>

/** Shows the messages that contain each of the words. @throws {CliError} if the history cannot be read */
export async function findWords(context: Context, words: readonly string[]): Promise<void> {
  const { people, history } = context.options
  const wanted = words.map(plain)
  const isFound = ({ text }: Pick<Found, 'text'>): boolean => wanted.every((word) => plain(text).includes(word))
  const { found, problems } = history === undefined ? { found: inSession(context), problems: [] } : await history.search()
  const matching = found.filter(isFound)
  for (const problem of problems) context.tell(problem, true)
  const title = `${matching.length === 1 ? '1 message' : `${matching.length} messages`} with ${words.join(' ')}`
  if (matching.length === 0) return context.tell(title)
  const names = new Map(people.parties().map(({ id, name }) => [id, name]))
  const lines = matching.slice(-MOST).map(({ conversation, author, at, text }) => {
    const place = names.get(people.earlier(conversation)) ?? 'a conversation that is gone'
    return `${dayOf(at)} ${clock(at)}  ${place}: ${showName(author)}: ${text.replaceAll('\n', ' ')}`
  })
  const more = matching.length > MOST ? [`the newest ${MOST}:`] : []
  context.put({ kind: 'show', title, text: [...more, ...lines].join('\n') })
}

function inSession(context: Context): Found[] {
  return context.state.conversations.flatMap(({ id, entries }) =>
    entries
      .filter(({ from, expires, verdict }) => from !== 'note' && expires === undefined && verdict !== 'forged')
      .map(({ author, at, text }) => ({ conversation: id, author, at, text })),
  )
}

/** Returns a text in any case and composition, for comparison. */
function plain(text: string): string {
  return text.normalize('NFC').toLowerCase()
}

/** The steps by which a newcomer joins a closed relay, for `asfaleia join` and the chat. */
import { type Card, CardError, parseCard } from '../../client/format/card.ts'
import { fingerprintOf } from '../../client/format/field.ts'
import { type Invite, InviteError, parseInvite } from '../../client/format/invite.ts'
import type { SshKey } from '../../auth/ssh-key.ts'
import type { Book, Known } from '../profile/book.ts'
import type { Home } from '../profile/home.ts'
import { handToTor, Onions } from '../profile/onions.ts'
import { CliError } from '../program/error.ts'
import type { Io } from '../program/io.ts'
import { findControls } from './diagnosis.ts'

/** The text of the contact request to the operator, which carries the newcomer's card. */
export const GREETING = 'I have joined your relay.'

/** @param source where the text came from, for the error @throws {CliError} if the invite is malformed */
export function readInvite(text: string, source: string): Invite {
  try {
    return parseInvite(text)
  } catch (error) {
    if (!(error instanceof InviteError)) throw error
    throw new CliError(`${source}: ${error.message}`, {
      hint: 'nothing was changed; copy the whole link, or ask the operator for it again',
    })
  }
}

/** Returns the operator's card, if the invite has it. @throws {CliError} if it is not valid */
export async function readOperator({ card }: Invite): Promise<Card | undefined> {
  if (card === undefined) return undefined
  try {
    return await parseCard(card)
  } catch (error) {
    if (!(error instanceof CardError)) throw error
    throw new CliError(`the operator's card in the invite: ${error.message}`, {
      hint: 'nothing was changed; ask the operator for another invite',
    })
  }
}

export interface StoredKey {
  /** Whether tor took the key. */
  readonly isTaken: boolean
  /** Whether the key was there already. */
  readonly isAgain: boolean
  /** The file to copy for tor if it did not take the key. */
  readonly path: string
}

/**
 * Stores the key and hands it to tor.
 * @param replace whether to replace another key of the same service
 * @throws {CliError} if there is another key, or the key cannot be stored
 */
export async function storeKey(home: Home, { relay, key }: Invite, replace: boolean, io: Pick<Io, 'env'>): Promise<StoredKey> {
  const onions = new Onions(home.onionFolder)
  const known = await onions.read(relay)
  if (known !== undefined && known.key !== key && !replace) {
    throw new CliError(`you are a member of ${relay} already, with another key`, {
      hint: 'nothing was changed; if the operator gave you a new invite, because the old one ended, add --replace',
    })
  }
  const controls = findControls(io)
  await onions.add({ address: relay, key })
  const isTaken = await handToTor({ address: relay, key }, controls)
  return { isTaken, isAgain: known?.key === key, path: onions.path(relay) }
}

/**
 * Adds the operator to the contacts, under another name if a contact has theirs.
 * @param me the user's own key
 * @returns undefined if the operator tries the invite
 */
export async function addOperator(book: Book, operator: Card, me: SshKey): Promise<Known | undefined> {
  if (fingerprintOf(operator.key) === fingerprintOf(me)) return undefined
  const isKnown = book.find(fingerprintOf(operator.key)) !== undefined
  const name = isKnown ? undefined : findFreeName(book, operator.name)
  return (await book.add({ card: operator }, name)).contact
}

function findFreeName(book: Book, wanted: string): string {
  let name = wanted
  for (let n = 2; book.get(name) !== undefined; n++) name = `${wanted} ${n}`
  return name
}

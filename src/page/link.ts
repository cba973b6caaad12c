/** Reads the link that the user pasted: an invite, or the card of a person. */
import { type Card, CardError, findCard, parseCard } from '../client/format/card.ts'
import { type Invite, InviteError, parseInvite } from '../client/format/invite.ts'
import { AccountError } from './check.ts'

export type Link =
  | { readonly kind: 'card'; readonly card: Card }
  /** `card` is that of the operator. */
  | { readonly kind: 'invite'; readonly invite: Invite; readonly card?: Card }

const CARD = /^asfaleia-card\/[^]*^-----END SSH SIGNATURE-----$/m

/** @param now seconds since 1970 @throws {AccountError} that says what is wrong with it */
export async function readLink(text: string, now: number): Promise<Link> {
  try {
    if (text.includes('asfaleia:invite/')) return await readInvite(text, now)
    const signed = CARD.exec(text.replaceAll('\r\n', '\n'))?.[0]
    const card = signed === undefined ? await findCard(text) : await parseCard(`${signed}\n`)
    if (card !== undefined) return { kind: 'card', card }
  } catch (error) {
    if (error instanceof CardError || error instanceof InviteError)
      throw new AccountError(`${error.message}. Copy the whole link again, or ask for it again`)
    throw error
  }
  throw new AccountError('this is no link of Asfaleia: one begins with asfaleia:invite/ or asfaleia:card/')
}

async function readInvite(text: string, now: number): Promise<Link> {
  const invite = parseInvite(text)
  if (invite.until !== undefined && invite.until < now)
    throw new AccountError('this invite has expired: ask the operator of the relay for another one')
  if (invite.card === undefined) return { kind: 'invite', invite }
  return { kind: 'invite', invite, card: await parseCard(invite.card) }
}

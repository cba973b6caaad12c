/** The first screen: what is trusted, and three ways to begin. */
import { useRef, useState } from 'preact/hooks'
import { Account } from './account.ts'
import { AccountError } from './check.ts'
import { type Link, readLink } from './link.ts'
import { PACKAGE_VERSION } from '../version.ts'
import { Field, Icon, Problem, useAction } from './parts.tsx'

/** How the page came here. */
export type Origin = 'file' | 'relay'

/** A new or an opened account, and the link that the user began with. */
export interface Begun {
  readonly account: Account
  readonly isNew: boolean
  readonly link?: Link
}

const TRUST: Readonly<Record<Origin, readonly [title: string, text: string]>> = {
  file: ['This page is a file of yours.', 'It does what it did when you checked its signature. No one can change it without you.'],
  relay: [
    'This page came from the relay.',
    'Its operator could have changed it, for you alone, and then read everything that you write here. To trust no one with that, save the page as a file, check its signature, and open the file.',
  ],
}

export function Trust({ origin }: { readonly origin: Origin }) {
  const [title, text] = TRUST[origin]
  return (
    <p class={origin === 'file' ? 'trust' : 'trust served'}>
      <Icon name={origin === 'file' ? 'shield' : 'alert'} />
      <span>
        <strong>{title}</strong> {text}
      </span>
    </p>
  )
}

/** @param relay the relay that served the page */
export function Start({
  origin,
  relay,
  onBegin,
}: {
  readonly origin: Origin
  readonly relay: string | undefined
  readonly onBegin: (begun: Begun) => void
}) {
  return (
    <main class="start">
      <header>
        <h1>Asfaleia</h1>
        <p class="lead">Private messages over Tor. No account, no phone number.</p>
      </header>
      <Trust origin={origin} />
      <ByLink onBegin={onBegin} />
      <FromFile onBegin={onBegin} />
      <ByRelay relay={relay} onBegin={onBegin} />
      <footer class="hint">Asfaleia {PACKAGE_VERSION}. It stores nothing in this browser.</footer>
    </main>
  )
}

type Ask = Pick<Parameters<typeof Start>[0], 'onBegin'>

/** With an invite, pasting it is all: it has a name and a relay. With a person's card, the user adds a name. */
function ByLink({ onBegin }: Ask) {
  const [text, setText] = useState('')
  const [name, setName] = useState('')
  const [needsName, setNeedsName] = useState(false)
  const { problem, busy, run } = useAction()
  const begin = async (pasted: string): Promise<void> => {
    const link = await readLink(pasted, Date.now() / 1_000)
    if (link.kind === 'invite') {
      const account = await Account.create(name === '' ? link.invite.name : name, [link.invite.relay])
      return onBegin({ account, isNew: true, link })
    }
    setNeedsName(true)
    if (name === '') return
    onBegin({ account: await Account.create(name, link.card.relays), isNew: true, link })
  }
  const onText = (next: string): void => {
    setText(next)
    if (/asfaleia:(?:invite|card)\//.test(next)) run(() => begin(next))
  }
  return (
    <section aria-labelledby="by-link">
      <h2 id="by-link">I was sent a link</h2>
      <form
        onSubmit={(event) => {
          event.preventDefault()
          run(async () => {
            if (text.trim() === '') throw new AccountError('paste the link first')
            await begin(text)
          })
        }}
      >
        <Field label="Paste the invite or the card" hint="It begins with asfaleia:invite/ or asfaleia:card/">
          {(ids) => (
            <textarea
              {...ids}
              rows={3}
              value={text}
              spellcheck={false}
              autocomplete="off"
              dir="ltr"
              onInput={(event) => onText(event.currentTarget.value)}
            />
          )}
        </Field>
        {needsName && (
          <Field label="What should they call you?" hint="They see this name. It need not be your real one.">
            {(ids) => (
              <input
                {...ids}
                value={name}
                autocomplete="off"
                maxLength={64}
                dir="auto"
                onInput={(event) => setName(event.currentTarget.value)}
              />
            )}
          </Field>
        )}
        <Problem text={problem} />
        <button class="primary" disabled={busy}>
          {busy ? 'Reading…' : 'Begin'}
        </button>
      </form>
    </section>
  )
}

function FromFile({ onBegin }: Ask) {
  const file = useRef<HTMLInputElement>(null)
  const [passphrase, setPassphrase] = useState('')
  const { problem, busy, run } = useAction()
  return (
    <section aria-labelledby="from-file">
      <h2 id="from-file">I have a saved file</h2>
      <form
        onSubmit={(event) => {
          event.preventDefault()
          run(async () => {
            const [chosen] = file.current?.files ?? []
            if (chosen === undefined) throw new AccountError('choose the file first')
            if (chosen.size > MOST_FILE_BYTES) throw new AccountError('this file is too large for a profile')
            onBegin({ account: await Account.open(await chosen.text(), passphrase), isNew: false })
          })
        }}
      >
        <Field label="The file" hint="It was saved by this page, or by asfaleia profile export">
          {(ids) => <input {...ids} ref={file} type="file" />}
        </Field>
        <Field label="Its passphrase">
          {(ids) => (
            <input
              {...ids}
              type="password"
              autocomplete="off"
              value={passphrase}
              onInput={(event) => setPassphrase(event.currentTarget.value)}
            />
          )}
        </Field>
        <Problem text={problem} />
        <button disabled={busy}>{busy ? 'Opening, this takes some seconds…' : 'Open'}</button>
      </form>
    </section>
  )
}

/** The largest saved file: base64 twice over a profile. */
const MOST_FILE_BYTES = 67_108_864

function ByRelay({ relay, onBegin }: Ask & { readonly relay: string | undefined }) {
  const [name, setName] = useState('')
  const [address, setAddress] = useState(relay ?? '')
  const { problem, busy, run } = useAction()
  return (
    <section aria-labelledby="by-relay">
      <details open={relay !== undefined}>
        <summary>
          <h2 id="by-relay">I have neither</h2>
        </summary>
        <form
          onSubmit={(event) => {
            event.preventDefault()
            run(async () => onBegin({ account: await Account.create(name, [address]), isNew: true }))
          }}
        >
          <Field label="Your name" hint="The people you write to see it. It need not be your real one.">
            {(ids) => (
              <input
                {...ids}
                value={name}
                autocomplete="off"
                maxLength={64}
                dir="auto"
                onInput={(event) => setName(event.currentTarget.value)}
              />
            )}
          </Field>
          <Field
            label="The address of your relay"
            hint="Your messages wait there. Its operator gives you the address, which ends with .onion"
          >
            {(ids) => (
              <input
                {...ids}
                value={address}
                spellcheck={false}
                autocomplete="off"
                dir="ltr"
                onInput={(event) => setAddress(event.currentTarget.value)}
              />
            )}
          </Field>
          <Problem text={problem} />
          <button disabled={busy}>Make a new identity</button>
        </form>
      </details>
    </section>
  )
}

/** The screen of a browser that cannot encrypt here. */
export function Insecure() {
  return (
    <main class="start">
      <header>
        <h1>Asfaleia</h1>
      </header>
      <p class="trust served" role="alert">
        <Icon name="alert" />
        <span>
          <strong>This browser treats the page as insecure.</strong> It gives the page no cryptography, so nothing can be encrypted or
          signed here, and nothing was sent.
        </span>
      </p>
      <h2>What to do</h2>
      <ul>
        <li>Open this address in Tor Browser.</li>
        <li>Or save the page as a file, and open the file in Tor Browser.</li>
      </ul>
    </main>
  )
}

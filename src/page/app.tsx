/** The whole page: the first screen, and then the people, a conversation and the other screens side by side. */
import { useEffect, useRef, useState } from 'preact/hooks'
import type { Invite } from '../client/format/invite.ts'
import { ConversationView, type Drafts } from './conversation.tsx'
import { List, type Place } from './list.tsx'
import { conversationOf, unseenOf } from './model.ts'
import { Icon, useTalk } from './parts.tsx'
import { PersonView } from './person.tsx'
import { AddView, CardView, InviteView, SaveView } from './places.tsx'
import { type Begun, type Origin, Start } from './start.tsx'
import { Talk } from './talk.ts'

/** @param relay the relay that served the page */
export function App({ origin, relay }: { readonly origin: Origin; readonly relay: string | undefined }) {
  const [begun, setBegun] = useState<{ readonly talk: Talk; readonly invite?: Invite; readonly first?: string }>()
  const [isForgotten, setForgotten] = useState(false)
  const begin = async ({ account, isNew, link }: Begun): Promise<void> => {
    const talk = new Talk(account)
    if (isNew) talk.touch()
    const card = link?.card
    const first = card === undefined ? undefined : await talk.people.addCard(card.text).catch(() => undefined)
    setBegun({ talk, ...(link?.kind === 'invite' && { invite: link.invite }), ...(first !== undefined && { first }) })
  }
  if (isForgotten) return <Forgotten />
  if (begun === undefined) return <Start origin={origin} relay={relay} onBegin={(next) => void begin(next)} />
  const forget = (): void => {
    void begun.talk.close()
    setBegun(undefined)
    setForgotten(true)
  }
  return <Home {...begun} origin={origin} onForget={forget} />
}

function Home({
  talk,
  invite: given,
  first,
  onForget,
}: {
  readonly talk: Talk
  readonly invite?: Invite
  readonly first?: string
  readonly origin: Origin
  readonly onForget: () => void
}) {
  const state = useTalk(talk)
  const [place, setPlace] = useState<Place>(first === undefined ? 'card' : 'conversation')
  const [invite, setInvite] = useState(given)
  const drafts = useRef<Drafts>(new Map())
  const open = conversationOf(state, state.open)
  useEffect(() => {
    if (first !== undefined) talk.open(first)
    const onLeave = (event: BeforeUnloadEvent): void => {
      if (talk.loss !== undefined || drafts.current.size > 0) event.preventDefault()
    }
    // A tab that slept for hours has dead connections.
    const onWake = (): void => {
      if (document.visibilityState === 'visible') talk.connect()
    }
    addEventListener('beforeunload', onLeave)
    document.addEventListener('visibilitychange', onWake)
    return () => {
      removeEventListener('beforeunload', onLeave)
      document.removeEventListener('visibilitychange', onWake)
    }
  }, [talk])
  const unseen = state.conversations.reduce((sum, each) => sum + (each.kind === 'strangers' ? 0 : unseenOf(each)), 0)
  useEffect(() => {
    document.title = unseen > 0 ? `(${unseen}) Asfaleia` : 'Asfaleia'
  }, [unseen])
  const show = (id: string): void => {
    talk.open(id)
    setPlace('conversation')
  }
  const toList = (): void => {
    talk.open(undefined)
    setPlace('list')
  }
  const isOffline = state.relays.some((each) => each.state === 'down')
  return (
    <div class={place === 'list' ? 'home at-list' : 'home'}>
      <List state={state} place={place} onOpen={show} onPlace={setPlace} onConnect={() => talk.connect()} />
      <main>
        {state.notices.length > 0 && (
          <div class="notices" role="status">
            {state.notices.map(({ key, role, text }) => (
              <p key={key} class={role}>
                <Icon name="alert" /> <span>{text}</span>
                <button type="button" class="link" onClick={() => talk.dismiss(key)}>
                  Close<span class="hidden"> this notice</span>
                </button>
              </p>
            ))}
          </div>
        )}
        {invite !== undefined && place !== 'invite' && isOffline && (
          <p class="notices">
            <button type="button" onClick={() => setPlace('invite')}>
              This relay needs the key of your invite
            </button>
          </p>
        )}
        {(place === 'conversation' || place === 'person') && open === undefined && <Nothing />}
        {place === 'list' && <Nothing />}
        {place === 'conversation' && open !== undefined && (
          <ConversationView talk={talk} conversation={open} drafts={drafts.current} onBack={toList} onPerson={() => setPlace('person')} />
        )}
        {place === 'person' && open !== undefined && (
          <PersonView key={open.id} talk={talk} conversation={open} onBack={() => setPlace('conversation')} />
        )}
        {place === 'card' && <CardView state={state} onBack={toList} />}
        {place === 'add' && (
          <AddView
            talk={talk}
            onBack={toList}
            onAdded={show}
            onInvite={(next) => {
              setInvite(next)
              setPlace('invite')
            }}
          />
        )}
        {place === 'save' && <SaveView talk={talk} state={state} onBack={toList} onForget={onForget} />}
        {place === 'invite' && invite !== undefined && (
          <InviteView invite={invite} onBack={() => setPlace(open === undefined ? 'list' : 'conversation')} />
        )}
      </main>
    </div>
  )
}

function Nothing() {
  return <p class="nothing">Choose a person to read and write.</p>
}

function Forgotten() {
  return (
    <main class="start">
      <header>
        <h1>Asfaleia</h1>
      </header>
      <p class="state good" role="status">
        <Icon name="check" />
        <span>Everything is forgotten. Close this tab now: the browser may keep parts in memory until then.</span>
      </p>
      <p>
        <button type="button" onClick={() => location.reload()}>
          Begin again
        </button>
      </p>
    </main>
  )
}

// What a note-taking app does with the npm package webdav; tells what it saw as a line of JSON.

import { createClient } from 'webdav'

const { url, username, password } = JSON.parse(process.argv[2])
const client = createClient(url, { username, password })
const note = '/notes/a ä#%41?.md'

const seen = { compliance: (await client.getDAVCompliance('/')).compliance, before: await client.exists('/notes') }
await client.createDirectory('/notes')
seen.made = await client.putFileContents(note, 'first', { overwrite: false })
seen.again = await client.putFileContents(note, 'not again', { overwrite: false })
await client.putFileContents(note, 'second')
seen.listed = (await client.getDirectoryContents('/', { deep: true })).map(({ filename, size }) => [filename, size])
seen.etag = (await client.stat(note)).etag
seen.text = await client.getFileContents(note, { format: 'text' })
const lock = await client.lock(note)
seen.locked = await client.putFileContents(note, 'of another').then(() => 204, (error) => error.status)
await client.unlock(note, lock.token)
await client.copyFile(note, '/notes/copy.md')
await client.moveFile(note, '/moved.md')
seen.after = await client.exists(note)
process.stdout.write(`${JSON.stringify(seen)}\n`)

// A video without its own sound, and tracks of audio that run with it; switching tracks is silent and stays in time.
// All tracks run, and all but one are muted. The one that is heard is the clock: a video can be nudged unseen, a sound
// cannot be nudged unheard.

const FAR_S = 0.3; // a medium that is this far off jumps
const NEAR_S = 0.02; // one that is nearer than this runs at the normal speed
const NUDGE = 0.08; // largest change of speed

class Player {
  // video: a <video> or null; tracks: <audio> elements or null where there is none; onChange: after play, pause and time
  constructor(video, tracks, onChange) {
    Object.assign(this, { video, tracks, onChange, chosen: tracks.findIndex(Boolean), isPlaying: false, isLooping: false });
    if (video) video.muted = true;
    this.media = [video, ...tracks].filter(Boolean);
    for (const track of tracks) if (track) track.muted = true;
    if (this.track) this.track.muted = false;
    this.step = this.step.bind(this);
  }

  get track() {
    return this.tracks[this.chosen] || null;
  }

  get duration() {
    return Math.max(0, ...this.media.filter(isUsable).map((medium) => medium.duration));
  }

  get clock() {
    const running = [this.track, this.video, ...this.tracks].filter((medium) => medium && isUsable(medium));
    return running.find((medium) => !isOver(medium)) || running[0] || null;
  }

  get time() {
    const clock = this.clock;
    return clock ? clock.currentTime : 0;
  }

  choose(index) {
    if (!this.tracks[index]) return;
    const time = this.time;
    if (this.track) this.track.muted = true;
    this.chosen = index;
    const track = this.track;
    if (isUsable(track) && Math.abs(track.currentTime - time) > NEAR_S * 2) track.currentTime = Math.min(time, track.duration);
    track.playbackRate = 1;
    track.muted = false;
    if (this.isPlaying) start(track);
    this.onChange();
  }

  seek(time) {
    const to = Math.min(Math.max(time, 0), this.duration);
    for (const medium of this.media) if (isUsable(medium)) medium.currentTime = Math.min(to, medium.duration);
    if (this.isPlaying) this.media.forEach(start);
    this.onChange();
  }

  play() {
    if (this.isPlaying) return;
    if (this.time >= this.duration - 0.01) this.seek(0);
    this.isPlaying = true;
    this.media.forEach(start);
    requestAnimationFrame(this.step);
    this.onChange();
  }

  pause() {
    this.isPlaying = false;
    for (const medium of this.media) medium.pause();
    const time = this.time;
    for (const medium of this.media) if (isUsable(medium) && !isOver(medium)) medium.currentTime = time;
    this.onChange();
  }

  toggle() {
    if (this.isPlaying) this.pause();
    else this.play();
  }

  step() {
    if (!this.isPlaying) return;
    const clock = this.clock;
    if (!clock || isOver(clock)) {
      if (!this.isLooping || !clock) return void this.pause();
      this.seek(0);
    } else {
      clock.playbackRate = 1;
      for (const medium of this.media) if (medium !== clock) follow(medium, clock.currentTime);
    }
    this.onChange();
    requestAnimationFrame(this.step);
  }

  close() {
    this.isPlaying = false;
    for (const medium of this.media) {
      medium.pause();
      medium.removeAttribute("src");
      medium.load();
    }
  }
}

const isUsable = (medium) => Number.isFinite(medium.duration) && medium.duration > 0 && !medium.error;
const isOver = (medium) => medium.ended || medium.currentTime >= medium.duration - 0.005;

function start(medium) {
  if (!isUsable(medium) || !isOver(medium)) medium.play().catch(() => {}); // one that is not there has its own message
}

function follow(medium, time) {
  if (!isUsable(medium) || medium.seeking || time >= medium.duration) return;
  const late = time - medium.currentTime;
  if (Math.abs(late) > FAR_S) {
    medium.currentTime = time;
    medium.playbackRate = 1;
    if (medium.paused) start(medium);
  } else medium.playbackRate = Math.abs(late) < NEAR_S ? 1 : 1 + Math.min(Math.max(late, -NUDGE), NUDGE);
}


"use strict";
// Everything that comes from the data is set as text content, values or numbers, never parsed as HTML.

const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key in made) made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

const has = (object, key) => Object.hasOwn(object, key);
const plural = (number, thing) => `${number} ${thing}${number === 1 ? "" : "s"}`;
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const shownTime = (seconds) => `${seconds.toFixed(2)} s`;

function shownAngle(degrees) {
  const rounded = Math.round(degrees);
  return `${rounded > 0 ? "+" : rounded < 0 ? "−" : ""}${Math.abs(rounded)}°`;
}

function shownSide(source) {
  if (!source.azimuth_deg) return "";
  const [first, last] = source.azimuth_deg.map(shownAngle);
  return first === last ? first : `${first} → ${last}`;
}

